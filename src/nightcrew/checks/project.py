"""What kind of project a checkout is, from its files alone: nothing of it is executed.

The table, first match wins for each line:

=============  ==========================================================================================
environment    ``[checks] python``; ``.venv`` or ``venv`` in the user's tree; ``[checks] setup``; dependencies
               declared in pyproject.toml, setup.py, setup.cfg or requirements files (an environment is made,
               with uv if it is there, else venv and pip); nothing declared: nightcrew's own Python
tests          ``[checks] test``; pytest if the project is Python (it runs unittest suites too); ``npm test``;
               ``cargo test``; ``go test ./...``; the ``test`` target of a Makefile
source         ``src/`` if packages lie there, else the root
extras         optional dependencies and dependency groups named test, tests, testing or dev; requirements files of
               those names
=============  ==========================================================================================
"""

import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TEST_NAMES = ("test", "tests", "testing", "dev")
_PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")
_NOT_PACKAGES = {"tests", "test", "docs", "doc", "examples", "bench", "benchmarks", "build", "dist", "scripts", "tools"}
_NATIVE = (".pyx", ".c", ".cpp", ".rs")


@dataclass(frozen=True)
class Detected:
    """What was found. ``installs`` are arguments for pip, ``keys`` the files whose content the environment depends on."""

    kind: str
    test: tuple[str, ...] | None = None
    source: str = "."
    packages: tuple[str, ...] = ()
    installs: tuple[str, ...] = ()
    itself: str | None = None
    keys: tuple[str, ...] = ()
    user_python: Path | None = None
    native: bool = False
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
    if any((root / name).is_file() for name in _PROJECT_FILES) or _requirements(root) or _has_python(root):
        return _python(root)
    if (test := _npm(root)) is not None:
        return Detected("node", test=test)
    for name, kind, test in (
        ("Cargo.toml", "rust", ("cargo", "test")),
        ("go.mod", "go", ("go", "test", "./...")),
        ("Makefile", "make", ("make", "test")),
    ):
        if (root / name).is_file() and (kind != "make" or _make_target(root)):
            return Detected(kind, test=test)
    return Detected("unknown", notes=("no tests were found; name a command in [checks] test",))


def _python(root: Path) -> Detected:
    notes: list[str] = []
    declared = _pyproject(root, notes)
    source = "src" if _packages(root / "src") else "."
    packages = _packages(root / source)
    requirements = _requirements(root)
    buildable = "build-system" in declared or "project" in declared or (root / "setup.py").is_file()
    extras = [name for name in _TEST_NAMES if name in declared.get("project", {}).get("optional-dependencies", {})]
    groups = [name for name in _TEST_NAMES if name in declared.get("dependency-groups", {})]
    installs = [word for path in requirements for word in ("-r", path)]
    installs += [word for name in groups for word in ("--group", f"pyproject.toml:{name}")]
    installs += _poetry(declared)
    itself = f".[{','.join(extras)}]" if extras else "." if buildable else None
    if itself == "." and not installs and not _declares(declared, root):
        itself = None
    keys = [name for name in (*_PROJECT_FILES, "uv.lock", "poetry.lock", *requirements) if (root / name).is_file()]
    return Detected(
        "python",
        source=source,
        packages=packages,
        installs=tuple(installs),
        itself=itself,
        keys=tuple(keys),
        user_python=next((p for d in (".venv", "venv") if (p := root / d / "bin" / "python").exists()), None),
        native=_native(root, declared),
        notes=tuple(notes),
    )


def _declares(declared: dict[str, Any], root: Path) -> bool:
    """Whether the project needs anything but pytest to be tested: dependencies, or itself installed (entry points, build)."""
    project = declared.get("project", {})
    needs = ("dependencies", "scripts", "entry-points", "gui-scripts", "dynamic")
    return any(project.get(name) for name in needs) or not project or (root / "setup.py").is_file()


def _pyproject(root: Path, notes: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        notes.append(f"pyproject.toml cannot be read: {error}")
        return {}


def _poetry(declared: dict[str, Any]) -> list[str]:
    groups = declared.get("tool", {}).get("poetry", {}).get("group", {})
    names = [name for group in _TEST_NAMES if group in groups for name in groups[group].get("dependencies", {})]
    return [
        name
        for name in names
        if re.fullmatch(r"[A-Za-z0-9._-]+", name) and name not in ("python", "mypy", "pre-commit")
    ]


def _requirements(root: Path) -> list[str]:
    found = ["requirements.txt"]
    found += [f"requirements{mark}{name}.txt" for mark in "-_" for name in _TEST_NAMES]
    found += [f"{name}{mark}requirements.txt" for mark in "-_" for name in _TEST_NAMES]
    found += [f"requirements/{name}.txt" for name in _TEST_NAMES[:3]]
    return [name for name in found if (root / name).is_file()]


def _packages(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        return ()
    named = [
        path.name
        for path in folder.iterdir()
        if path.name.isidentifier() and path.name not in _NOT_PACKAGES and (path / "__init__.py").is_file()
    ]
    modules = [p.stem for p in folder.glob("*.py") if not p.stem.startswith(("test_", "setup", "conftest", "noxfile"))]
    return tuple(sorted(named) or sorted(name for name in modules if name.isidentifier()))


def _has_python(root: Path) -> bool:
    return bool(_packages(root) or _packages(root / "src")) or any(root.glob("test*/test_*.py"))


def _native(root: Path, declared: dict[str, Any]) -> bool:
    backend = str(declared.get("build-system", {}).get("build-backend", ""))
    if any(name in backend for name in ("maturin", "mesonpy", "scikit_build")):
        return True
    setup = root / "setup.py"
    text = setup.read_text(encoding="utf-8", errors="replace") if setup.is_file() else ""
    return (
        "ext_modules" in text
        or "cythonize" in text
        or bool(declared.get("tool", {}).get("setuptools", {}).get("ext-modules"))
    )


def _npm(root: Path) -> tuple[str, ...] | None:
    try:
        scripts = json.loads((root / "package.json").read_text(encoding="utf-8")).get("scripts", {})
    except (OSError, ValueError, AttributeError):
        return None
    return ("npm", "test") if isinstance(scripts, dict) and "test" in scripts else None


def _make_target(root: Path) -> bool:
    text = (root / "Makefile").read_text(encoding="utf-8", errors="replace")
    return re.search(r"^test\s*:", text, re.MULTILINE) is not None
