"""The errors of nightcrew: one base class, a stable code and an exit status each."""

from typing import ClassVar


class NightcrewError(Exception):
    """Something went wrong in nightcrew.

    Each subclass carries ``code`` (stable; names its runbook), ``exit_status`` (see ``nightcrew --help``) and ``hint``
    (what to do next, one line). The message says what happened and where.
    """

    code: ClassVar[str] = "NC-BUG"
    exit_status: ClassVar[int] = 70
    hint: str = "Run the command again with --debug and report the traceback."

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").split("\n")[0])
        if hint is not None:
            self.hint = hint


class UsageError(NightcrewError):
    """The command was called with arguments that do not fit."""

    code = "NC-USAGE"
    exit_status = 2
    hint = "See --help of the command."


class NotFoundError(UsageError):
    """There is no such thing in this repository's state."""

    code = "NC-NOT-FOUND"
    hint = "List what exists with the command group's list command."


class PolicyError(NightcrewError):
    """The playbook or a gate refuses this."""

    code = "NC-REFUSED"
    exit_status = 3
    hint = "See what waits for a person with: nightcrew inbox"


class TransitionError(PolicyError):
    """The ticket cannot go from its state to the one asked for."""

    code = "NC-TRANSITION"


class ApprovalError(PolicyError):
    """No valid signature of an enrolled reviewer stands for exactly this subject."""

    code = "NC-APPROVAL"


class NotVerifiedError(ApprovalError):
    """A signature could not be verified now, which is not the same as one that does not stand."""

    code = "NC-NOT-VERIFIED"


class BudgetError(PolicyError):
    """The session has used its hard cap of turns."""

    code = "NC-BUDGET"
    hint = (
        "Unfinished work stays open and is planned again next shift; raise [budget] in nightcrew.toml if it is too low."
    )


class ConfigurationError(NightcrewError):
    """The configuration or the environment does not allow this."""

    code = "NC-CONFIG"
    exit_status = 4
    hint = "Run: nightcrew doctor"


class RepositoryError(ConfigurationError):
    """The repository cannot be worked."""

    code = "NC-REPOSITORY"


class SandboxError(ConfigurationError):
    """No sandbox can hold the command on this machine."""

    code = "NC-SANDBOX"


class IntegrityError(NightcrewError):
    """What is stored does not fit its hash, its signature or the ledger."""

    code = "NC-INTEGRITY"
    exit_status = 3
    hint = "See what is broken with: nightcrew audit verify"


class DocumentError(NightcrewError):
    """A document does not satisfy its schema."""

    code = "NC-DOCUMENT"
    exit_status = 2
    hint = "See the schema with: nightcrew schema NAME"


class TransientError(NightcrewError):
    """Something that usually passes got in the way."""

    code = "NC-TRANSIENT"
    exit_status = 75
    hint = "Run the same command again."


class BusyError(TransientError):
    """Another process holds what this command needs."""

    code = "NC-BUSY"
