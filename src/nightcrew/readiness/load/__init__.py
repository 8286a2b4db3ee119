"""Load tests of pipelines: records arrive at a set or rising rate, whatever becomes of those before them."""
