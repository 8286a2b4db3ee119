"""The environment of a sandboxed command: a stated list, never what happens to be set."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_NAMES = frozenset({"LANG", "LANGUAGE", "TZ", "TERM"})
_CERTIFICATES = frozenset(
    {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"}
)
_PACKAGES = frozenset(
    {
        "PIP_CERT",
        "PIP_DEFAULT_TIMEOUT",
        "PIP_DISABLE_PIP_VERSION_CHECK",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_INDEX_URL",
        "PIP_NO_INDEX",
        "UV_DEFAULT_INDEX",
        "UV_FIND_LINKS",
        "UV_INDEX",
        "UV_INDEX_URL",
        "UV_NATIVE_TLS",
        "UV_OFFLINE",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    }
)
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_NOTHING: Mapping[str, str] = MappingProxyType({})


def scrubbed_environment(
    extra: Mapping[str, str] = _NOTHING, *, temp: Path, home: Path | None = None, packages: bool = False
) -> dict[str, str]:
    """The environment for a command: PATH, language, time zone, certificates, and private HOME and TMPDIR.

    ``temp`` is the command's own temporary directory, ``home`` its home (default: ``temp``/home, made if missing).
    ``packages`` adds what package installers need to find their index, proxies included; an address with a password in
    it is left out, since no command is given a secret. ``extra`` is added last, as given.
    """
    private_home = home if home is not None else temp / "home"
    private_home.mkdir(parents=True, exist_ok=True)
    wanted = _NAMES | _CERTIFICATES | (_PACKAGES if packages else frozenset())
    kept = {
        name: value
        for name, value in os.environ.items()
        if (name in wanted or name.startswith("LC_")) and not _has_credentials(value)
    }
    # This Python's own tools come last: they serve where the user has none.
    path = [os.environ.get("PATH") or _DEFAULT_PATH, str(Path(sys.prefix) / "bin")]
    return {
        **kept,
        "PATH": os.pathsep.join(path),
        "HOME": str(private_home),
        "TMPDIR": str(temp),
        "USER": "nightcrew",
        "LOGNAME": "nightcrew",
        "GIT_TERMINAL_PROMPT": "0",
        **extra,
    }


def _has_credentials(value: str) -> bool:
    scheme, found, rest = value.partition("://")
    return bool(found) and scheme.isascii() and "@" in rest.partition("/")[0]
