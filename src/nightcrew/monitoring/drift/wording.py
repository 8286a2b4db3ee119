"""Names of fields and categories, which anybody may have chosen, as they are stored and shown."""

import re

from nightcrew.model.canonical import sha256_hex

LONGEST = 60
"""Of a longer name only the beginning is shown."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+")
_PLAIN = re.compile(r"[\w.\[\]()-]+")


def storable_name(name: str) -> str:
    """A name of one line that any database takes; a long one is cut, and told apart by a digest of all of it."""
    found = _CONTROL.sub("\ufffd", name)
    if len(found) <= LONGEST and found == name:
        return name
    return f"{found[: LONGEST - 11]}...{sha256_hex(name.encode('utf-8', 'surrogatepass'))[:8]}"


def shown_name(name: str) -> str:
    """A name in a message: in one line, cut, and in quotes unless it is a plain word."""
    found = _CONTROL.sub(" ", name)
    found = found if len(found) <= LONGEST else found[: LONGEST - 3] + "..."
    return found if _PLAIN.fullmatch(found) else '"{}"'.format(found.replace('"', "'"))
