"""What all documents share: strict, immutable pydantic models with errors that name the field."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from nightcrew.model.errors import DocumentError


class Document(BaseModel):
    """An immutable document: unknown fields are refused, so that a typing error is never silently ignored."""

    # Built when first used: a command uses few of the documents that its modules define, and each takes a millisecond.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @classmethod
    def read(cls, value: Any, *, source: str) -> Self:
        """Validate ``value`` (parsed JSON, YAML or TOML); raises DocumentError naming ``source`` and the field."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise DocumentError(f"{source}: {explain(error)}") from None

    def plain(self) -> dict[str, Any]:
        """The document as values that JSON and YAML have a form for."""
        return self.model_dump(mode="json")


def explain(error: ValidationError) -> str:
    """The first few problems of a pydantic error in one line: field, what is wrong."""
    problems = [
        f"{'.'.join(str(part) for part in problem['loc']) or 'document'}: {problem['msg']}"
        for problem in error.errors()
    ]
    shown = "; ".join(problems[:3])
    return shown if len(problems) <= 3 else f"{shown}; and {len(problems) - 3} more"
