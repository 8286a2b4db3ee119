"""What lies around code: the tests that know it, the CI that runs them, the runbooks written for it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nightcrew.readiness.looks import Look, relative

_CI = (
    ".github/workflows/*.yml", ".github/workflows/*.yaml", ".gitlab-ci.yml", ".circleci/config.yml",
    "azure-pipelines.yml", "bitbucket-pipelines.yml", "Jenkinsfile", ".travis.yml", ".woodpecker.yml",
)  # fmt: skip
_TESTS_RUN = re.compile(r"\b(pytest|unittest|tox|nox|make (test|check)|nightcrew (check|drill))\b")
_SMOKE = re.compile(r"\bnightcrew (run|drill)\b|\.run\(|subprocess\.|runpy\.|TestClient\(|CliRunner\(")
_LOAD = re.compile(r"\bnightcrew load\b|\blocust\b|\bk6 run\b|\bpytest-benchmark\b|\bvegeta\b|\bjmeter\b")
_RUNBOOK = re.compile(r"runbook", re.IGNORECASE)
_MAX_BYTES = 500_000
_MAX_FILES = 2000
_NEAR = 3


@dataclass(frozen=True)
class Around:
    """Files around a program, as paths; ``tests`` are those that import one of its modules."""

    top: Path
    tests: tuple[Path, ...]
    ci: tuple[Path, ...]
    runbooks: tuple[Path, ...]


def around(root: Path, modules: set[str]) -> Around:
    """What lies in ``root``, in its repository's CI, and beside it in folders of tests and documentation."""
    top = _top(root)
    names = "|".join(map(re.escape, sorted(modules)))
    named = re.compile(rf"\b(?:{names})\.py\b")
    ci = [path for place in dict.fromkeys((root, top)) for pattern in _CI for path in sorted(place.glob(pattern))]
    return Around(top, _importing(root, top, names), tuple(ci), tuple(_runbooks(root, top, named)))


def tests_of(path: Path, root: Path) -> tuple[Path, ...]:
    """The tests that import the module ``path``."""
    return _importing(root, _top(root), re.escape(path.stem if path.name != "__init__.py" else path.parent.name))


def _importing(root: Path, top: Path, names: str) -> tuple[Path, ...]:
    imported = re.compile(rf"^\s*(?:from|import)\s[^#\n]*\b(?:{names})\b", re.MULTILINE)
    return tuple(dict.fromkeys(path for path in _tests(root, top) if imported.search(_text(path))))


def look_at_tests(look: Look, found: Around, label: str, target: str, *, load: bool) -> None:
    """Tests that know the code, one of them from end to end, CI that runs them; ``load``: a load test was run.

    ``label`` is what tests import, ``target`` what a load test is given.
    """
    ci = [path for path in found.ci if _TESTS_RUN.search(_text(path))]
    smoke = [path for path in (*found.tests, *found.ci) if _SMOKE.search(_text(path))]
    loads = [path for path in (*found.tests, *found.ci) if _LOAD.search(_text(path))]
    if found.tests:
        look.file(f"files of tests import it: {len(found.tests)}, such as {relative(found.tests[0], found.top)}")
    else:
        look.gap("no test imports it", f"Write tests that import {label}: tests/test_*.py")
    if ci:
        look.file(f"CI runs tests: {relative(ci[0], found.top)}")
    else:
        look.gap("no CI runs its tests", "Run pytest in CI, or let nightcrew write it: nightcrew init --ci github")
    if smoke:
        look.file(f"a run from end to end: {relative(smoke[0], found.top)}")
    else:
        look.gap("no test runs it from end to end", "Run it over a few records in a test, and look at the outcomes")
    if loads:
        look.file(f"a load test: {relative(loads[0], found.top)}")
    elif not load:
        look.gap("it was never run under load", f"Find its limit: nightcrew load {target} --input FILE --rising")


def ci_that_tests(root: Path) -> str | None:
    """The first file of CI that runs tests or checks of nightcrew; None if there is none."""
    for pattern in _CI:
        for path in sorted(root.glob(pattern)):
            if _TESTS_RUN.search(_text(path)):
                return relative(path, root)
    return None


def has_tests(root: Path, source: str, packages: Sequence[str]) -> bool:
    """Whether pytest would find files of tests: at the top, in folders of tests, or in packages under ``source``."""
    inside = (path for name in packages for path in (root / source / name).rglob("*.py") if _is_test(path))
    return any(True for _ in _tests(root, root)) or any(True for _ in inside)


def _tests(root: Path, top: Path) -> Iterator[Path]:
    count = 0
    for place in dict.fromkeys((root, root / "tests", root / "test", root.parent / "tests", top / "tests")):
        if not place.is_dir() or not place.is_relative_to(top):
            continue
        inner = place.glob("*.py") if place == root else place.rglob("*.py")
        for path in sorted(inner):
            if _is_test(path):
                yield path
                count += 1
                if count >= _MAX_FILES:
                    return


def _is_test(path: Path) -> bool:
    return path.name.startswith("test_") or path.name.endswith("_test.py")


def _runbooks(root: Path, top: Path, named: re.Pattern[str]) -> Iterator[Path]:
    """Runbooks in the folder itself, and those of the repository that name its files."""
    own = (root, root / "docs", root / "runbooks")
    for place in dict.fromkeys((*own, top / "docs", top / "runbooks")):
        if place.is_dir():
            for path in sorted(place.glob("*.md" if place == root else "**/*.md"))[:_MAX_FILES]:
                about = _RUNBOOK.search(relative(path, root)) if place in own else None
                if about or (_RUNBOOK.search(relative(path, top)) and named.search(_text(path))):
                    yield path


def _top(root: Path) -> Path:
    """The top of the working tree around ``root``; ``root`` if there is none near."""
    near = (root, *root.parents[:_NEAR])
    return next((place for place in near if (place / ".git").exists()), root)


def _text(path: Path) -> str:
    try:
        return path.read_bytes()[:_MAX_BYTES].decode("utf-8", "replace")
    except OSError:
        return ""
