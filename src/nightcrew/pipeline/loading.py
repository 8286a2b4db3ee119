"""A pipeline named on the command line: ``APP.py:NAME`` or ``package.module:NAME``."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from nightcrew.model.errors import UsageError
from nightcrew.pipeline.pipeline import Pipeline


def load(target: str) -> Pipeline:
    """Import the module and give its pipeline; its folder is put on the import path, as Python does for a script.

    Raises UsageError that says what is missing; an error that the module raises at import is raised as it is.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise UsageError(f"{target!r} does not name a pipeline; write APP.py:NAME, such as app.py:fraud")
    module = _from_file(Path(place)) if place.endswith(".py") else _from_name(place)
    found = getattr(module, name, None)
    if isinstance(found, Pipeline):
        return found
    known = sorted(key for key, value in vars(module).items() if isinstance(value, Pipeline))
    hint = f"It has: {', '.join(known)}" if known else "It declares no Pipeline."
    problem = "has no" if found is None else f"has a {type(found).__name__}, not a Pipeline, named"
    raise UsageError(f"{place} {problem} {name}", hint=hint)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    path = path.resolve()
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    if loaded is None:
        sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _from_name(name: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and name.startswith(error.name):
            raise UsageError(f"there is no module {name}") from None
        raise
