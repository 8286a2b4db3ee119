"""What brains that drive a coding agent's program share: the program in the sandbox, the meter as its way out."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from nightcrew.brains.keys import key_of
from nightcrew.brains.meter import Meter
from nightcrew.brains.program import argv_of
from nightcrew.brains.protocol import Answer, BrainUnavailable, MustStop, Task
from nightcrew.model.errors import ConfigurationError
from nightcrew.model.settings import Brain
from nightcrew.reliability import Failure, FailureClass
from nightcrew.sandbox import Live, relay

ANTHROPIC = "https://api.anthropic.com"
OPENAI = "https://api.openai.com/v1"
FAILED_ENOUGH = 6
"""Requests in a row that the service did not answer, after which the program is ended."""


class AgentBrain(ABC):
    """A brain that drives a program: it runs once, or again after waiting for a service with a limit."""

    def __init__(self, name: str, settings: Brain) -> None:
        self._name = name
        self._settings = settings

    @property
    def name(self) -> str:
        """See ``protocol.Brain``."""
        return self._name

    def work(self, task: Task) -> Answer:
        """See ``protocol.Brain``."""
        while (answer := self.once(task)) is None:
            task = replace(task, resumed=True)  # The service takes requests again: the conversation goes on.
        return answer

    @abstractmethod
    def once(self, task: Task) -> Answer | None:
        """One run of the program; None if it had to wait for its service, and is to go on now."""


@contextmanager
def metered(name: str, settings: Brain, task: Task, *, upstream: str) -> Iterator[Meter]:
    """The way to the model for one run of a program. Raises BrainUnavailable if there is no key."""
    key = key_of(name, settings)
    address = settings.base_url or upstream
    seconds = settings.timeout_seconds

    def ended(seconds: float, failure: FailureClass | None) -> None:
        task.watch.request(name, seconds, failure)

    with Meter(task.turns, upstream=address, key=key, place=task.place, timeout_seconds=seconds, ended=ended) as meter:
        yield meter


@contextmanager
def started(
    name: str,
    settings: Brain,
    task: Task,
    meter: Meter,
    *,
    usual: tuple[str, ...],
    arguments: Sequence[str] = (),
    environment: dict[str, str] | None = None,
) -> Iterator[Live]:
    """The program, running in the sandbox. Raises BrainUnavailable if it is not installed."""
    if task.open is None:
        raise ConfigurationError(f"brain {name} has nowhere to run")
    argv, readable = argv_of(name, settings, usual)
    words = relay.through([*argv, *arguments], port=meter.port, directory=meter.directory)
    own = {key: _filled(value, meter) for key, value in settings.environment.items()}
    given = {"PYTHONDONTWRITEBYTECODE": "1", "DISABLE_AUTOUPDATER": "1", **(environment or {}), **own}
    with task.open(words, environment=given, readable=[*readable, meter.directory], port=meter.port) as running:
        yield running


def look(task: Task, meter: Meter, running: Live) -> None:
    """End the program if it may send nothing more, or if its service does not answer."""
    task.turns.alive()
    if meter.seen.over is not None:
        running.stop(str(meter.seen.over))
    elif meter.seen.failed_in_a_row >= FAILED_ENOUGH:
        running.stop("the model's service does not answer")


def check_stopped(task: Task, meter: Meter) -> None:
    """Raises what ended the session: BudgetError, MustStop."""
    if meter.seen.over is not None:
        raise meter.seen.over
    if reason := task.turns.stop_reason():
        raise MustStop(reason)


def goes_on(name: str, task: Task, meter: Meter, said: str) -> bool:
    """A run that failed: True after waiting for a service with a limit, for another run.

    Raises BrainUnavailable, with the service's failure or else what the program ``said``.
    """
    failure = meter.seen.failure if meter.seen.failed_in_a_row else None
    if failure is None:
        raise BrainUnavailable(Failure(FailureClass.BUG, "NoResult", f"{name}: {said}"[:500], None))
    limited = failure.retry_after if failure.kind is FailureClass.RATE_LIMIT else None
    if limited and task.turns.park(limited, failure.message):
        return True
    raise BrainUnavailable(failure)


def _filled(value: str, meter: Meter) -> str:
    return value.replace("{url}", meter.url).replace("{token}", meter.token)
