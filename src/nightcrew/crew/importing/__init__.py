"""Work that is written down elsewhere, made into tickets: issues, findings, failing tests, TODO comments, lines."""
