"""Records of files as values: JSON is read, numbers of a table of text are numbers again."""

import json
from collections.abc import Iterable, Mapping
from typing import Any


def parsed(records: Iterable[Any], *, text: bool) -> list[Any]:
    """Records as a source gives them, as mappings; what cannot be read is left out.

    With ``text`` (a .csv file) a column in which everything is a number becomes numbers; nothing becomes missing.
    """
    found = []
    for record in records:
        if isinstance(record, bytes):
            try:
                value = json.loads(record)
            except ValueError:
                continue
            if isinstance(value, Mapping):
                found.append(value)
        elif isinstance(record, Mapping):
            found.append(record)
    return _typed(found) if text else found


def _typed(rows: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: _column([row.get(name) or None for row in rows]) for name in names}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _column(values: list[Any]) -> list[Any]:
    try:
        return [value if value is None else float(value) for value in values]
    except (TypeError, ValueError):
        return values
