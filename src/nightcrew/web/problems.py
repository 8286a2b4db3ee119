"""What a person or a program is told when something is refused or goes wrong: never a traceback, always what to do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response

from nightcrew.model.errors import (
    ApprovalError,
    ConfigurationError,
    DocumentError,
    IntegrityError,
    NightcrewError,
    NotFoundError,
    PolicyError,
    TransientError,
    TransitionError,
    UsageError,
)

# The first that fits counts: subclasses before their bases.
_STATUS: tuple[tuple[type[NightcrewError], int], ...] = (
    (NotFoundError, 404),
    (TransitionError, 409),
    (ApprovalError, 403),
    (PolicyError, 403),
    (UsageError, 422),
    (DocumentError, 422),
    (IntegrityError, 409),
    (ConfigurationError, 503),
    (TransientError, 503),
)


@dataclass(frozen=True)
class Problem:
    """One answer that is not what was asked for: HTTP status, our stable code, what happened, what to do."""

    status: int
    code: str
    message: str
    hint: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, error: NightcrewError) -> "Problem":
        """The answer to an error of ours."""
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        if isinstance(error, ApprovalError) and "changed since" in str(error):
            status = 409
        return cls(status, error.code, str(error), error.hint)

    @classmethod
    def bug(cls, number: str) -> "Problem":
        """The answer to an error that nobody expected; ``number`` finds it in the server's log."""
        return cls(
            500, "NC-BUG", f"something went wrong in nightcrew (error {number})",
            f"Look for {number} in the terminal where nightcrew serve runs, and report what it says.",
        )  # fmt: skip

    @classmethod
    def no_session(cls) -> "Problem":
        """The answer to somebody who did not come in by a link."""
        return cls(
            401, "NC-SESSION", "this browser has no session",
            "Press Enter in the terminal where nightcrew serve runs, and open the link that it prints.",
        )  # fmt: skip

    def plain(self) -> dict[str, Any]:
        """As the JSON API says it."""
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}


Answer = Callable[[Problem, Mapping[str, Any]], Response]
"""Makes the response that says a problem, a page or JSON, as fits the request's scope."""
