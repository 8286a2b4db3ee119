"""What a run can end in besides its summary."""

from nightcrew.model.errors import NightcrewError, PolicyError


class DriftError(PolicyError):
    """The input has changed so much that most records would be refused."""

    code = "NC-DRIFT"
    hint = (
        "Nothing is lost. Mend the contract or the input, or run again with a higher max_rejected (--max-rejected 1)."
    )


class InputChangedError(NightcrewError):
    """An unfinished run began with another content of this input."""

    code = "NC-INPUT-CHANGED"
    exit_status = 3
    hint = "Bring the old input back to finish that run, or give it up and begin anew with --new."


class ChunkError(NightcrewError):
    """A worker could not go on with its chunk of a run."""

    code = "NC-CHUNK"
    hint = "Mend what it says, then run the same command again: it goes on where the chunks stand."
