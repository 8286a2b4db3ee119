"""Schemas of dataframes: pandas, polars and pyarrow tables by what they have in common; pandera's by ``validate``."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from nightcrew.reliability.errors import ContractError

Rule = Callable[[Any], Any]
Column = str | type | Rule | tuple[str | type, Rule]
"""A dtype's name (``"int64"``), a Python type, a rule over the column that gives true or a boolean column, or both."""


class FrameSchema(NamedTuple):
    """``columns`` a table must have; more are allowed unless ``exact``; ``nullable`` names those that may have gaps."""

    columns: Mapping[str, Column]
    exact: bool = False
    nullable: frozenset[str] = frozenset()


_FAMILIES = {int: ("int", "uint"), float: ("float", "double"), str: ("object", "str", "utf8", "large_string", "string"),
             bool: ("bool",)}  # fmt: skip


def is_frame_schema(schema: Any) -> bool:
    """Whether it is a schema of ours for a dataframe."""
    return isinstance(schema, FrameSchema)


def check_frame(schema: Any, table: Any, name: str) -> Any:
    """The table, if it fits. Raises ContractError that names the columns; values are not shown."""
    if not isinstance(schema, FrameSchema):
        try:
            return schema.validate(table)
        except Exception as error:
            raise ContractError(f"{name}: {type(error).__name__}: {str(error).splitlines()[0][:200]}") from None
    problems = tuple(_problems(schema, table))
    if problems:
        raise ContractError("; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else ""),
                            problems=problems)  # fmt: skip
    return table


def _problems(schema: FrameSchema, table: Any) -> Iterator[str]:
    names = _names(table)
    for name, wanted in schema.columns.items():
        if name not in names:
            yield f"{name}: this column is missing"
            continue
        column = table[name]
        for part in wanted if isinstance(wanted, tuple) else (wanted,):
            if isinstance(part, str | type):
                dtype = str(getattr(column, "dtype", getattr(column, "type", ""))).lower()
                if not _fits(dtype, part):
                    yield f"{name}: expected {part if isinstance(part, str) else part.__name__}, got {dtype}"
            elif not _holds(part(column)):
                yield f"{name}: the rule {getattr(part, '__name__', 'given')} does not hold for every row"
        if name not in schema.nullable and (gaps := _gaps(column)):
            yield f"{name}: {gaps} values are missing"
    if schema.exact and (more := [name for name in names if name not in schema.columns]):
        yield f"columns that are not in the schema: {', '.join(map(str, more))}"


def _names(table: Any) -> list[str]:
    return list(table.column_names if hasattr(table, "column_names") else table.columns)


def _fits(dtype: str, wanted: str | type) -> bool:
    if isinstance(wanted, str):
        return dtype == wanted.lower()
    families = _FAMILIES.get(wanted, (wanted.__name__.lower(),))
    return dtype.startswith(families)


def _gaps(column: Any) -> int:
    if hasattr(column, "null_count"):
        count = column.null_count
        return int(count() if callable(count) else count)
    return int(column.isna().sum()) if hasattr(column, "isna") else 0


def _holds(answer: Any) -> bool:
    return bool(answer.all()) if hasattr(answer, "all") else bool(answer)
