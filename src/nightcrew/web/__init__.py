"""The inbox in the browser: pages that read without JavaScript, and a JSON API under them. No logic of its own."""
