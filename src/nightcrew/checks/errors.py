"""The errors of checks: something that should have been read or run could not be."""

from nightcrew.model.errors import NightcrewError


class CheckError(NightcrewError):
    """A check could not be made, so nothing is known."""

    code = "NC-CHECK"
    exit_status = 4
    hint = "See what is missing with: nightcrew doctor"


class ReportError(CheckError):
    """A tool's report cannot be read."""

    hint = "Run the tool by hand in a clone of the repository and look at what it writes."
