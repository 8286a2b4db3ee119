"""bubblewrap, where it is installed and asked for (``run(..., sandbox=Bubblewrap())``) or Landlock is missing."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from nightcrew.model.errors import SandboxError
from nightcrew.sandbox import trees
from nightcrew.sandbox.process import Policy
from nightcrew.sandbox.protocol import Launch


class Bubblewrap:
    """Holds a command with bwrap(1): a private root, PID, IPC and network namespaces."""

    name = "bubblewrap"

    @staticmethod
    def installed() -> bool:
        """Whether bwrap is on the path."""
        return shutil.which("bwrap") is not None

    def prepare(self, argv: Sequence[str], *, cwd: Path, policy: Policy, environment: Mapping[str, str]) -> Launch:  # noqa: ARG002
        """See ``Sandbox``. Raises SandboxError when bwrap is not installed."""
        trees.check(policy)
        program = shutil.which("bwrap")
        if program is None:
            raise SandboxError("bubblewrap is not installed", hint="Install bubblewrap, or use Landlock.")
        words = [program, "--die-with-parent", "--new-session", "--unshare-all", "--cap-drop", "ALL"]
        words += ["--share-net"] if policy.network else []
        words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108
        for tree in trees.readable_trees(policy):
            words += ["--ro-bind", str(tree.resolve()), str(tree)]
        for tree in trees.writable_trees(policy):
            words += ["--bind", str(tree.resolve()), str(tree)]
        words += ["--chdir", str(cwd.resolve()), "--", *argv]
        return Launch(tuple(words), self.name)
