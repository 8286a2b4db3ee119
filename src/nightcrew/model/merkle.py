"""Merkle trees over a batch: one root for many outcomes, and a short proof for each.

The tree is that of RFC 6962 section 2.1 (Certificate Transparency): SHA-256, leaves hashed after a zero byte and inner
nodes after a one byte, so that neither can pass for the other; an odd node goes up a level as it is.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

_sha256 = hashlib.sha256


class Sibling(NamedTuple):
    """One step of a proof: the hash of the other node (32 bytes), and whether it stands on the left."""

    left: bool
    hash: bytes


def leaf_hash(data: bytes) -> bytes:
    """The hash (32 bytes) of a leaf that holds ``data``."""
    return _sha256(b"\0" + data).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root (32 bytes) over leaf hashes in their order; raises ValueError if there are none."""
    if not leaves:
        raise ValueError("a tree needs a leaf")
    level = leaves
    while len(level) > 1:
        level = _above(level)
    return level[0]


def path(leaves: Sequence[bytes], index: int) -> list[Sibling]:
    """The proof that leaf ``index`` is under the root, from the leaf upwards; raises IndexError."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"there is no leaf {index} among {len(leaves)}")
    steps: list[Sibling] = []
    level = leaves
    while len(level) > 1:
        other = index ^ 1
        if other < len(level):
            steps.append(Sibling(other < index, level[other]))
        level, index = _above(level), index // 2
    return steps


def verify(leaf: bytes, steps: Sequence[Sibling], expected_root: bytes) -> bool:
    """Whether the leaf hash ``leaf`` and the proof ``steps`` lead to ``expected_root``."""
    found = leaf
    for left, other in steps:
        found = _node(other, found) if left else _node(found, other)
    return found == expected_root


def _node(left: bytes, right: bytes) -> bytes:
    return _sha256(b"\x01" + left + right).digest()


def _above(level: Sequence[bytes]) -> list[bytes]:
    nodes = [_sha256(b"\x01" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
    if len(level) % 2:
        nodes.append(level[-1])
    return nodes
