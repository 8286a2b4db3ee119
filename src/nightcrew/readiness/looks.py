"""What looking at a target says of one box, before the drills that were run are taken into account."""

from dataclasses import dataclass, field
from pathlib import Path

from nightcrew.readiness.boxes import Box, Evidence, Gap


@dataclass
class Look:
    """What was seen of one box: what speaks for it, what is not there, or why the target has no use for it."""

    box: Box
    evidence: list[Evidence] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    needless: str = ""
    outdated: str = ""
    """What was shown of it before something changed, and has to be shown again."""

    def code(self, detail: str) -> None:
        """The source says so."""
        self.evidence.append(Evidence(kind="code", detail=detail))

    def setting(self, detail: str) -> None:
        """A setting says so."""
        self.evidence.append(Evidence(kind="setting", detail=detail))

    def file(self, detail: str) -> None:
        """A file is there."""
        self.evidence.append(Evidence(kind="file", detail=detail))

    def gap(self, what: str, fix: str, path: str = "", line: int = 0) -> None:
        """Something is not there."""
        self.gaps.append(Gap(what=what, fix=fix, path=path, line=line))


def relative(path: Path, root: Path) -> str:
    """``path`` as gaps name it: relative to the root of the target."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
