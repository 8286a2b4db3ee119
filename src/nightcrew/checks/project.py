"""What kind of project a checkout is, from its files alone: nothing of it is executed.

The table, first match wins for each line:

=============  ==========================================================================================
environment    ``[checks] python``; ``[checks] setup``; ``.venv`` or ``venv`` in the user's tree, if it has pytest and
               the commit declares the same dependencies; dependencies declared in pyproject.toml, setup.py,
               setup.cfg or requirements files (an environment is made with venv and pip); nothing declared:
               nightcrew's own Python
tests          ``[checks] test``; pytest if the project is Python (it runs unittest suites too); ``npm test``;
               ``cargo test``; ``go test ./...``; the ``test`` target of a Makefile
source         ``src/`` if packages lie there, else the root
extras         optional dependencies, dependency groups (PEP 735) and poetry groups named test, tests or testing, else
               dev; requirements files of those names; ``deps`` of ``[testenv]`` in tox.ini
compiled       extension modules of setuptools are built in the workspace, those of maturin, meson-python and
               scikit-build beside it
=============  ==========================================================================================
"""

import configparser
import json
import re
import tomllib
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nightcrew.checks.text import inside, read_text

_TEST_NAMES = ("test", "tests", "testing", "dev")
_PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")
_NOT_PACKAGES = {"tests", "test", "docs", "doc", "examples", "bench", "benchmarks", "build", "dist", "scripts", "tools"}
_NOT_MODULES = ("test_", "setup", "conftest", "noxfile")
_BACKENDS = ("setuptools", "maturin", "mesonpy", "scikit_build", "hatchling", "poetry", "flit_core", "pdm", "uv_build")
_COMPILING = ("maturin", "mesonpy", "scikit_build")
_NO_ENVIRONMENT = ("black", "coverage", "isort", "mypy", "pylint", "pyright", "pytest", "ruff")


@dataclass(frozen=True)
class Detected:
    """What was found.

    ``installs`` are arguments for pip, ``itself`` is the project as pip installs it, ``keys`` the files whose content
    the environment depends on. ``native``: it has compiled parts, made by ``backend``, which needs ``build_requires``.
    """

    kind: str
    test: tuple[str, ...] | None = None
    source: str = "."
    packages: tuple[str, ...] = ()
    installs: tuple[str, ...] = ()
    itself: str | None = None
    keys: tuple[str, ...] = ()
    user_python: Path | None = None
    native: bool = False
    backend: str = ""
    build_requires: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def summary(self) -> dict[str, str]:
        """What was found, in words."""
        if self.user_python is not None:
            environment = f"the repository's own: {self.user_python.parent.parent.name}"
        elif self.installs or self.itself:
            environment = f"made from {', '.join(self.keys)}"
        else:
            environment = "nightcrew's own Python: nothing is declared"
        return {
            "kind": self.kind,
            "tests": "pytest" if self.kind == "python" else " ".join(self.test or ("none found",)),
            "environment": environment if self.kind == "python" else "the system's",
            "packages": ", ".join(self.packages) or "none",
        }


def detect(root: Path) -> Detected:
    """Look at a checkout. Files that cannot be read or parsed are named in ``notes``, never raised."""
    if any(inside(root, name) for name in _PROJECT_FILES) or _requirements(root) or _has_python(root):
        return _python(root)
    if (test := _npm(root)) is not None:
        return Detected("node", test=test)
    for name, kind, test in (
        ("Cargo.toml", "rust", ("cargo", "test")),
        ("go.mod", "go", ("go", "test", "./...")),
        ("Makefile", "make", ("make", "test")),
    ):
        if inside(root, name) and (kind != "make" or _make_target(root)):
            return Detected(kind, test=test)
    return Detected("unknown", notes=("no tests were found; name a command in [checks] test",))


def declared_content(root: Path, keys: Sequence[str]) -> dict[str, str]:
    """What the files ``keys`` under ``root`` declare, as text; of pyproject.toml what an environment depends on."""
    return {name: text for name in keys if (text := _environment_part(root, name)) is not None}


def _environment_part(root: Path, name: str) -> str | None:
    text = read_text(root, name)
    if text is None or name != "pyproject.toml":
        return text
    value = _pyproject(root, [])
    if not value:
        return text
    tools = {key: tool for key, tool in _table(value, "tool").items() if key not in _NO_ENVIRONMENT}
    return json.dumps({**value, "tool": tools}, sort_keys=True, default=str)


def _python(root: Path) -> Detected:
    notes: list[str] = []
    declared = _pyproject(root, notes)
    source = "src" if _packages(root / "src") else "."
    requirements = _requirements(root)
    setup_py = inside(root, "setup.py") is not None
    extras = _for_tests(_table(declared, "project", "optional-dependencies"))
    groups = _for_tests(_table(declared, "dependency-groups"))
    installs = [word for path in requirements for word in ("-r", path)]
    installs += [word for name in groups for word in ("--group", f"pyproject.toml:{name}")]
    installs += [*_poetry(declared), *_tox(root)]
    buildable = "build-system" in declared or "project" in declared or setup_py
    itself = f".[{','.join(extras)}]" if extras else "." if buildable else None
    if itself == "." and not installs and not _declares(declared, setup_py):
        itself = None
    keys = [
        name for name in (*_PROJECT_FILES, "tox.ini", "uv.lock", "poetry.lock", *requirements) if inside(root, name)
    ]
    return Detected(
        "python",
        source=source,
        packages=_packages(root / source),
        installs=tuple(installs),
        itself=itself,
        keys=tuple(keys),
        user_python=next((p for d in (".venv", "venv") if (p := root / d / "bin" / "python").exists()), None),
        native=_native(root, declared),
        backend=_backend(declared),
        build_requires=tuple(_strings(_table(declared, "build-system").get("requires"))) or ("setuptools", "wheel"),
        notes=tuple(notes),
    )


def _declares(declared: dict[str, Any], setup_py: bool) -> bool:
    """Whether its tests need more than pytest: dependencies, or the project installed (entry points, build)."""
    project = _table(declared, "project")
    needs = ("dependencies", "scripts", "entry-points", "gui-scripts", "dynamic")
    return any(project.get(name) for name in needs) or not project or setup_py


def _for_tests(names: Container[str]) -> list[str]:
    """Those of ``names`` that hold what the tests need; ``dev``, which often holds much more, only without others."""
    found = [name for name in _TEST_NAMES if name in names]
    return [name for name in found if name != "dev"] or found


def _table(value: Any, *names: str) -> dict[str, Any]:
    """The table at ``names``; an empty one if it is missing or something else."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _strings(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _pyproject(root: Path, notes: list[str]) -> dict[str, Any]:
    text = read_text(root, "pyproject.toml")
    try:
        return tomllib.loads(text or "")
    except (ValueError, RecursionError) as error:
        notes.append(f"pyproject.toml cannot be read: {error}")
        return {}


def _backend(declared: dict[str, Any]) -> str:
    """The build backend by its package, "" if none is declared (which means setuptools, PEP 517)."""
    named = str(_table(declared, "build-system").get("build-backend", ""))
    return next((name for name in _BACKENDS if name in named), named)


def _poetry(declared: dict[str, Any]) -> list[str]:
    """Test dependencies of poetry, by name only: its version syntax is not pip's, and pip finds versions that fit."""
    poetry = _table(declared, "tool", "poetry")
    tables = [_table(poetry, "group", name, "dependencies") for name in _TEST_NAMES]
    names = [name for table in [*tables, _table(poetry, "dev-dependencies")] for name in table]
    skipped = ("python", "mypy", "pre-commit")
    return [name for name in names if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) and name not in skipped]


def _tox(root: Path) -> list[str]:
    """The plain requirements among ``deps`` of ``[testenv]`` (no factors, no substitutions, no files)."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(read_text(root, "tox.ini") or "")
        lines = parser.get("testenv", "deps", fallback="").splitlines()
    except configparser.Error:
        return []
    plain = (line.split("#")[0].strip() for line in lines)
    return [line for line in plain if re.fullmatch(r"[A-Za-z0-9][\w.\[\],<>=!~ -]*", line)]


def _requirements(root: Path) -> list[str]:
    found = ["requirements.txt"]
    found += [f"requirements{mark}{name}.txt" for mark in "-_" for name in _TEST_NAMES]
    found += [f"{name}{mark}requirements.txt" for mark in "-_" for name in _TEST_NAMES]
    found += [f"requirements/{name}.txt" for name in _TEST_NAMES[:3]]
    return [name for name in found if inside(root, name)]


def _packages(folder: Path) -> tuple[str, ...]:
    if folder.is_symlink() or not folder.is_dir():
        return ()
    named = [
        path.name
        for path in folder.iterdir()
        if path.name.isidentifier() and path.name not in _NOT_PACKAGES and inside(folder, f"{path.name}/__init__.py")
    ]
    modules = [p.stem for p in folder.glob("*.py") if not p.stem.startswith(_NOT_MODULES) and inside(folder, p.name)]
    return tuple(sorted(named) or sorted(name for name in modules if name.isidentifier()))


def _has_python(root: Path) -> bool:
    return bool(_packages(root) or _packages(root / "src")) or any(root.glob("test*/test_*.py"))


def _native(root: Path, declared: dict[str, Any]) -> bool:
    if _backend(declared) in _COMPILING or _table(declared, "tool", "setuptools").get("ext-modules"):
        return True
    text = read_text(root, "setup.py") or ""
    return "ext_modules" in text or "cythonize" in text or "Extension(" in text


def _npm(root: Path) -> tuple[str, ...] | None:
    try:
        scripts = _table(json.loads(read_text(root, "package.json") or "{}"), "scripts")
    except (ValueError, RecursionError):
        return None
    return ("npm", "test") if "test" in scripts else None


def _make_target(root: Path) -> bool:
    return re.search(r"^test\s*:", read_text(root, "Makefile") or "", re.MULTILINE) is not None
