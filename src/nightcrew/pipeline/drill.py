"""A drill of the user's own: what ``nightcrew drill`` finds in an application's code, and runs on a copy of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from nightcrew.pipeline.pipeline import Pipeline


class Drill:
    """A drill of your own: inherit, say what it injects and expects, and assert in ``run`` what must have happened.

    Put it into the module of the pipeline, a module that this imports, or a file beside it with ``drill`` in its name.
    ``name`` is what it is called by (default: the name of the class, as ``words-with-hyphens``); ``title`` what it
    proves (default: the first line of its docstring); ``boxes`` the boxes of readiness that it is evidence for, by name
    (``inputs``, ``retries``, ``monitoring``, ``state``, ``reviews``, ``fallbacks``, ``tests``, ``runbooks``). All are
    constants: they are read from the source.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    boxes: ClassVar[tuple[str, ...]] = ()
    injects: ClassVar[str] = ""
    expects: ClassVar[str] = ""

    def run(self, pipeline: "Pipeline", records: Sequence[Any]) -> str | None:
        """Inject the fault and look. ``pipeline`` has its state in the copy; ``records`` is a sample of its input.

        Return what happened, in a sentence. An AssertionError fails the drill with its message; any other error means
        that the drill broke, which proves nothing. There is no network here but loopback, and nothing outside the copy
        can be written.
        """
        raise NotImplementedError
