"""The errors of checks: something that should have been read or run could not be."""

from nightcrew.model.errors import NightcrewError, TransientError


class CheckError(NightcrewError):
    """A check's tool or report cannot be used."""

    code = "NC-CHECK"
    exit_status = 4
    hint = "Run: nightcrew doctor"


class ReportError(CheckError):
    """A tool's report cannot be read."""

    code = "NC-REPORT"
    hint = "Run the tool by hand in a clone of the repository and look at what it writes."


class EnvironmentSetupError(CheckError):
    """The project's environment could not be set up."""

    code = "NC-SETUP"
    hint = "Set [checks] setup or python in nightcrew.toml; the log of the attempt is kept with the environment."


class EnvironmentNetworkError(EnvironmentSetupError, TransientError):
    """The project's environment could not be set up, because the package index was out of reach."""

    code = "NC-SETUP-NETWORK"
    exit_status = 75
    hint = "Allow the network for set-up, or prepare a .venv in the repository."
