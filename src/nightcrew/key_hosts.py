"""Which key may be sent to which host: a repository's settings name both, and somebody else may have written them.

A provider's own host takes its key without a question, and this machine any. For another one the user says so once;
it is kept in ``hosts.toml`` beside ``keys.toml``, outside every repository: ``"host" = ["NAME", ...]``.
"""

import ipaddress
import json
import os
import tempfile
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from nightcrew.location import config_directory
from nightcrew.model.errors import ConfigurationError, PolicyError, UsageError

USUAL = frozenset({"api.github.com", "api.anthropic.com", "api.openai.com", "generativelanguage.googleapis.com"})
"""Hosts of the services that nightcrew knows by itself."""

_PORTS = {"https": 443, "http": 80}


class KeyNotAllowed(PolicyError):
    """A key would go to a host that the user did not allow it for."""

    def __init__(self, name: str, host: str) -> None:
        super().__init__(
            f"the settings of this repository would send {name} to {host}",
            hint=f"Look at nightcrew.toml first; then, once: nightcrew key allow {name} {host}",
        )


def host_of(address: str) -> str:
    """Host and port of an address, or of a bare host name: ``llm.example.com``, ``llm.example.com:8443``, ``[::1]``.

    One in the clear keeps its ``http://``: what is allowed for https is not allowed for it. Raises UsageError for an
    address without a host.
    """
    try:
        parts = urlsplit(address if "://" in address else f"https://{address}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or not host.isprintable() or not host.isascii() or parts.scheme not in _PORTS:
        raise UsageError(f"{address!r} names no host", hint="Write it as llm.example.com, or as llm.example.com:8443.")
    clear = "http://" if parts.scheme == "http" else ""
    shown = f"[{host}]" if ":" in host else host
    return f"{clear}{shown}" if port in (None, _PORTS[parts.scheme]) else f"{clear}{shown}:{port}"


def is_allowed(name: str, address: str) -> bool:
    """Whether the key ``name`` may be sent to ``address`` (empty: the provider's own, always)."""
    if not address:
        return True
    host = host_of(address)
    return host in USUAL or _is_loopback(urlsplit(address).hostname or "") or name in allowed().get(host, ())


def check(name: str, address: str) -> None:
    """Raise KeyNotAllowed, which says how to allow it, unless the key ``name`` may be sent to ``address``."""
    if not is_allowed(name, address):
        raise KeyNotAllowed(name, host_of(address))


def allowed() -> dict[str, tuple[str, ...]]:
    """What the user allowed: host and names; raises ConfigurationError for a damaged file."""
    path = _file()
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(
            f"{path}: {error}", hint="Mend the file, or delete it and allow the hosts again."
        ) from None
    return {host: tuple(map(str, names)) for host, names in said.items() if isinstance(names, list)}


def allow(name: str, address: str) -> str:
    """Remember that the key ``name`` may be sent to this host; gives the host. Raises UsageError for none."""
    host = host_of(address)
    known = allowed()
    known[host] = tuple(dict.fromkeys((*known.get(host, ()), name)))
    lines = [f"{json.dumps(one)} = {json.dumps(list(names))}\n" for one, names in sorted(known.items())]
    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".hosts-")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write("# Hosts that keys may be sent to. Written by: nightcrew key allow\n" + "".join(lines))
    Path(temporary).replace(path)
    return host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _file() -> Path:
    return config_directory() / "hosts.toml"
