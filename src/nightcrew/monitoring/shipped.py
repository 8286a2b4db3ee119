"""The files that come with nightcrew for other monitoring: a Grafana dashboard, rules for Prometheus, how to scrape."""

from importlib import resources
from pathlib import Path

from nightcrew.model.errors import UsageError

NAMES = ("nightcrew-dashboard.json", "nightcrew-rules.yml", "nightcrew-scrape.yml")


def read(name: str) -> bytes:
    """One of the files."""
    return (resources.files("nightcrew.monitoring") / "files" / name).read_bytes()


def write(directory: Path, *, force: bool = False) -> list[Path]:
    """Write all of them; gives where. Raises UsageError, and writes nothing, if one is there that differs."""
    targets = {directory / name: read(name) for name in NAMES}
    changed = [path for path, data in targets.items() if path.exists() and path.read_bytes() != data]
    if changed and not force:
        names = ", ".join(path.name for path in changed)
        raise UsageError(f"{names} in {directory} would be overwritten", hint="Use --force, or another directory.")
    directory.mkdir(parents=True, exist_ok=True)
    for path, data in targets.items():
        path.write_bytes(data)
    return list(targets)
