"""A finding: one problem that a check or a reviewer found, with a fingerprint that survives moved lines."""

import re
from enum import StrEnum

from pydantic import Field

from nightcrew.model.canonical import digest
from nightcrew.model.document import Document
from nightcrew.model.severity import Severity


class Category(StrEnum):
    """What sort of problem a finding is."""

    BUILD = "build"  # does not install, start, import or collect
    REGRESSION = "regression"  # a test that passed on base and fails on head
    LINT = "lint"
    COVERAGE = "coverage"
    SECURITY = "security"
    SECRET = "secret"  # noqa: S105 - the name of a category
    DEPENDENCY = "dependency"
    PROTECTED_PATH = "protected-path"
    REVIEW = "review"  # found by reading, not by a tool


class Finding(Document):
    """One problem.

    ``path`` is relative to the repository with forward slashes, ``line`` and ``end_line`` count from 1, ``confidence``
    is in [0, 1]. ``evidence`` is shown to people: a checker never puts a secret's value in it.
    """

    fingerprint: str = Field(pattern=r"^[0-9a-f]{32}$")
    tool: str
    rule: str
    category: Category
    severity: Severity
    message: str
    path: str | None = None
    line: int | None = Field(default=None, ge=1)
    end_line: int | None = Field(default=None, ge=1)
    evidence: str = ""
    confidence: float | None = Field(default=None, ge=0, le=1)
    breaks_build: bool = False
    fixable: bool = False


_SPACE = re.compile(r"\s+")


def fingerprint(*, tool: str, rule: str, path: str | None, code: str, occurrence: int = 0) -> str:
    """A stable name of a finding, 32 hexadecimal digits.

    It depends on the tool, the rule, the file and the text of the code with white space folded, not on the line number,
    so that it survives lines moving; ``occurrence`` (from 0) tells equal lines of one file apart. It is the idea of
    SARIF 2.1.0 section 3.27.16 (partialFingerprints).
    """
    return digest([tool, rule, path or "", _SPACE.sub(" ", code).strip(), occurrence])[:32]
