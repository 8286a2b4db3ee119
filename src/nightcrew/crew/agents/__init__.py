"""What each agent does at its desk. Every agent is a function from a desk to an outcome."""
