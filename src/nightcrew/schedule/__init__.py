"""Running shifts at set times: when each is due, and what of the machine calls it then."""
