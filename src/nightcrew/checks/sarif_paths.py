"""Where a SARIF result lies: URIs, base ids and artifact references made into paths of the repository."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from nightcrew.checks.text import plain_text, relative_path


@dataclass(frozen=True)
class Place:
    """A place in the repository; ``path`` is None when the report names none, or one outside the repository."""

    path: str | None = None
    line: int | None = None
    end_line: int | None = None
    snippet: str | None = None


class Locator:
    """Resolves the locations of one run (SARIF 2.1.0 sections 3.4, 3.14.14 and 3.24)."""

    def __init__(self, run: Mapping[str, Any], root: Path) -> None:
        self._bases = _mapping(run.get("originalUriBaseIds"))
        artifacts = run.get("artifacts")
        self._artifacts: list[Any] = artifacts if isinstance(artifacts, list) else []
        self._roots = tuple({root.as_posix().rstrip("/"), root.resolve().as_posix().rstrip("/")})

    def place(self, location: Mapping[str, Any]) -> Place:
        """The place of a result's location; what does not fit the standard is left out."""
        physical = _mapping(location.get("physicalLocation"))
        region = _mapping(physical.get("region"))
        path = self.path(_mapping(physical.get("artifactLocation")))
        line = _line(region.get("startLine"))
        snippet = _mapping(region.get("snippet")).get("text")
        return Place(
            path=path,
            line=line if path else None,
            end_line=_line(region.get("endLine")) if path and line else None,
            snippet=snippet if isinstance(snippet, str) and snippet.strip() else None,
        )

    def path(self, artifact: Mapping[str, Any], depth: int = 0) -> str | None:
        """The repository-relative path that ``artifact`` (an artifactLocation) names, or None."""
        uri = artifact.get("uri")
        if not isinstance(uri, str):
            index = artifact.get("index")
            if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(self._artifacts) or depth:
                return None
            return self.path(_mapping(_mapping(self._artifacts[index]).get("location")), depth + 1)
        base = artifact.get("uriBaseId")
        return self._to_repository(self._prefix(base) + uri if isinstance(base, str) and not _is_absolute(uri) else uri)

    def _prefix(self, base: str) -> str:
        """The URI that ``base`` stands for; "" (the repository) for one that is not defined, as %SRCROOT% often is."""
        prefix, seen = "", set[str]()
        while base not in seen and len(seen) < 10:
            seen.add(base)
            entry = _mapping(self._bases.get(base))
            uri, parent = entry.get("uri"), entry.get("uriBaseId")
            if isinstance(uri, str):
                prefix = (uri if uri.endswith("/") else uri + "/") + prefix
                if _is_absolute(uri):
                    break
            if not isinstance(parent, str):
                break
            base = parent
        return prefix

    def _to_repository(self, uri: str) -> str | None:
        try:
            parts = urlsplit(uri)
        except ValueError:
            return None
        if parts.scheme not in ("", "file"):
            return None
        path = unquote(parts.path if parts.scheme else uri.partition("#")[0].partition("?")[0])
        if path.startswith("/"):
            root = next((root for root in self._roots if path.startswith(root + "/")), None)
            if root is None:
                return None
            path = path[len(root) + 1 :]
        clean = relative_path(path)
        return plain_text(clean, limit=1000) if clean else None


def _is_absolute(uri: str) -> bool:
    return uri.startswith("/") or "://" in uri or uri.startswith("file:")


def _line(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31 else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
