"""Canonical JSON and digests: the same value always gives the same bytes.

The form is that of RFC 8785 (JSON Canonicalization Scheme) for the values we store: objects with sorted keys, no
white space, UTF-8, no floats that are not finite.
"""

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> bytes:
    """The one JSON encoding of ``value`` (mappings, sequences, str, int, float, bool, None), as UTF-8 bytes.

    Raises ValueError for NaN and infinities and TypeError for anything that JSON has no form for.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_hex(data: bytes) -> str:
    """SHA-256 of ``data`` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """SHA-256 (hexadecimal) of the canonical JSON of ``value``."""
    return sha256_hex(canonical_json(value))
