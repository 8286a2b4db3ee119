"""Whether what comes in, or goes out, is no longer what it was."""
