"""Whose code the tests import: proof, before each run, that it is the workspace's.

The classic trap is an environment with an editable install of the user's own tree (or an installed copy): the tests
then pass on code that nobody changed. So the workspace comes first on the path, and a probe asks Python where each
package is found.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from nightcrew.checks.errors import CheckError
from nightcrew.checks.project import Detected
from nightcrew.checks.python import Environment
from nightcrew.checks.running import Run
from nightcrew.checks.text import plain_text

_PROBE_SECONDS = 120
# Modules beside the packages are only located: importing a script would run it.
_PROBE = """
import importlib, importlib.util, json, os, sys
found = {}
for name in json.loads(sys.argv[1]):
    try:
        spec = importlib.util.find_spec(name)
        package = spec is not None and spec.submodule_search_locations is not None
        place = None if spec is None else list(spec.submodule_search_locations)[0] if package else spec.origin
        found[name] = [place, None]
        if package:
            module = importlib.import_module(name)
            found[name][0] = getattr(module, "__file__", None) or place
    except BaseException as error:
        found[name] = [found.get(name, [None])[0], type(error).__name__ + ": " + str(error)[:300]]
sys.stdout.flush()
sys.stdout.write("\\nPROBE" + json.dumps(found))
sys.stdout.flush()
os._exit(0)
"""
# For projects without a setup.py the same, from pyproject.toml and setup.cfg.
_BUILD = "import setuptools, sys; sys.argv[0] = 'setup.py'; setuptools.setup()"


def variables(roots: Sequence[Path]) -> dict[str, str]:
    """Environment variables with which Python finds modules in ``roots`` first and leaves no byte code behind."""
    return {
        "PYTHONPATH": ":".join(str(root) for root in roots),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONHASHSEED": "0",
    }


def import_roots(
    workspace: Path, detected: Detected, environment: Environment, *, run: Run, temp: Path, timeout: float
) -> tuple[Path, ...]:
    """Where the code under test is imported from; compiled parts are built from this workspace first.

    Raises CheckError if they cannot be built. ``timeout`` in seconds.
    """
    source = workspace / detected.source
    roots = (source, workspace) if source != workspace else (workspace,)
    if not detected.native:
        return roots
    python = str(environment.python)
    if detected.backend in ("", "setuptools"):
        script = ["setup.py"] if (workspace / "setup.py").is_file() else ["-c", _BUILD]
        argv = [python, *script, "--quiet", "build_ext", "--inplace", "--force"]
    else:
        built = temp / f"built-{workspace.name}"
        roots = (built,)
        argv = [python, "-m", "pip", "install", "--quiet", "--no-input", "--no-deps", "--no-build-isolation"]
        argv += ["--no-index", "--upgrade", "--target", str(built), str(workspace)]
    ended = run(argv, timeout=timeout, readable=environment.readable)
    if not ended.ok:
        raise CheckError(f"the compiled parts could not be built: {plain_text(ended.tail(400))}")
    return roots


def prove(
    workspace: Path, detected: Detected, environment: Environment, roots: Sequence[Path], *, run: Run
) -> dict[str, str]:
    """Packages that are the workspace's own but do not import, with the reason.

    Raises CheckError if any package would come from elsewhere, or if nothing can be said.
    """
    if not detected.packages:
        return {}
    argv = [str(environment.python), "-c", _PROBE, json.dumps(detected.packages)]
    ended = run(
        argv, environment=variables(roots), timeout=_PROBE_SECONDS, readable=environment.readable, cwd=workspace
    )
    _, marker, answer = ended.stdout.decode("utf-8", "replace").rpartition("\nPROBE")
    try:
        found = json.loads(answer) if marker else {}
        places = {str(name): (found[name][0], found[name][1]) for name in detected.packages}
    except (ValueError, KeyError, IndexError, TypeError):
        raise CheckError(
            f"it cannot be shown whose code the tests import: {plain_text(ended.tail(300)) or 'no answer'}"
        ) from None
    own = [root.resolve() for root in roots]
    for name, (place, _) in places.items():
        if place is None:
            raise CheckError(f"the environment does not find the package {name} of this commit")
        if not any(Path(place).resolve().is_relative_to(root) for root in own):
            raise CheckError(
                f"the tests would import {name} from {plain_text(str(place))}, not from the commit under test; "
                "an installed copy hides it"
            )
    return {name: plain_text(why, limit=400) for name, (_, why) in places.items() if why}
