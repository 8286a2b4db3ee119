"""Failures told apart, retried, degraded: usable alone, without a database."""
