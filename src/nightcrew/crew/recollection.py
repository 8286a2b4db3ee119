"""Session records as an agent is given them: each with its source and day, without secrets, within a budget of size."""

from collections.abc import Iterable, Sequence

from nightcrew.brains import Piece
from nightcrew.model.record import SessionRecord
from nightcrew.monitoring.redaction import Redaction

_NOTE = 240
"""Characters kept free for what says that there is more; a budget of no more than that gives nothing."""
_CUT, _LEAST = 40, 300
"""Characters of the mark of a cut, and the least that a cut leaves: shorter ends of a record say nothing."""
_FILES = 30


def piece_of(record: SessionRecord) -> Piece:
    """A record with its source: the session, the day, the agent."""
    return Piece(f"record of session {record.session} of {record.created:%Y-%m-%d}, {record.agent}", as_text(record))


def as_text(record: SessionRecord) -> str:
    """A record as an agent reads it, without secrets: what is still open comes first, so that a cut takes it last."""
    lists = (("Open questions", record.questions), ("Decisions", record.decisions))
    parts = [record.title, *(_listed(name, given) for name, given in lists if given), record.summary]
    if record.files:
        parts.append(_listed("Files", record.files[:_FILES]))
        if (more := len(record.files) - _FILES) > 0:
            parts.append(f"- and {more} more")
    return Redaction().text("\n".join(part for part in parts if part))


def fitted(pieces: Iterable[Piece], characters: int) -> list[Piece]:
    """The pieces, best first, that fit into so many characters with their sources; at the end what was left out.

    None takes more than half, so that one long record does not keep out all others: it is cut, and says so.
    """
    if characters <= _NOTE:
        return []
    taken, left_out, left = list[Piece](), list[Piece](), characters - _NOTE
    for piece in pieces:
        cut = _cut(piece, min(left, characters // 2))
        if cut is None:
            left_out.append(piece)
        else:
            taken.append(cut)
            left -= size(cut)
    return [*taken, *_note(left_out)]


def size(piece: Piece) -> int:
    """The characters that a piece takes of a budget."""
    return len(piece.source) + len(piece.text)


def _cut(piece: Piece, room: int) -> Piece | None:
    """The piece, as much of it as there is room for, or None if that is too little to be of use."""
    if size(piece) <= room:
        return piece
    kept = room - len(piece.source) - _CUT
    if kept < _LEAST:
        return None
    return Piece(piece.source, f"{piece.text[:kept]}\n[... cut: {len(piece.text):,} characters]")


def _note(left_out: Sequence[Piece]) -> list[Piece]:
    if not left_out:
        return []
    names = "; ".join(piece.source.removeprefix("record of ")[:50] for piece in left_out[:3])
    more = f"; {len(left_out) - 3} more" if len(left_out) > 3 else ""
    return [Piece("records left out", f"Left out for size: {names}{more}.")]


def _listed(heading: str, given: Sequence[str]) -> str:
    return f"{heading}:\n" + "\n".join(f"- {one}" for one in given)
