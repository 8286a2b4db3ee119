"""The texts that brains are given, one template a file."""
