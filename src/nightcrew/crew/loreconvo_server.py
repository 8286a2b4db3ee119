"""Talking to LoreConvo: its own program, started for one conversation over standard streams (the Model Context
Protocol), given a stated environment, and ended with the conversation.

LoreConvo is somebody else's product under a licence of its own (BUSL 1.1): it is run, never imported.
"""  # noqa: D205

import asyncio
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nightcrew import credentials
from nightcrew.crew.project import Project
from nightcrew.model.errors import ConfigurationError, NightcrewError, TransientError
from nightcrew.monitoring.redaction import Redaction

if TYPE_CHECKING:
    from mcp import ClientSession

LICENCE = "LORECONVO_PRO"
"""The name of LoreConvo's licence key, for those who have one."""

_KEPT = ("HOME", "PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
_NOT_GIVEN = frozenset({"LORECONVO_ANTHROPIC_API_KEY"})
"""It is for summaries by a model, which nightcrew never asks for."""

_LOG_BYTES = 1_000_000
_ANSWER_BYTES = 4_000_000
_CALL_SECONDS = 10.0
T = TypeVar("T")


class LoreConvoDown(TransientError):
    """LoreConvo did not answer."""

    code = "NC-LORECONVO"
    hint = "Nothing is lost: the records wait, and the crew's own memory has them. Look with: nightcrew doctor"


class LoreConvoRefused(NightcrewError):
    """LoreConvo refused what it was asked."""

    code = "NC-LORECONVO"
    exit_status = 1
    hint = "See what waits, and why, with: nightcrew memory status"


class Server:
    """A running LoreConvo."""

    def __init__(self, session: "ClientSession") -> None:
        self._session = session

    async def call(self, tool: str, **arguments: Any) -> Any:
        """What a tool answers, as plain data. Raises LoreConvoRefused, or what the connection breaks with."""
        answer = await self._session.call_tool(tool, arguments, read_timeout_seconds=timedelta(seconds=_CALL_SECONDS))
        texts = [str(getattr(part, "text", "")) for part in answer.content]
        if answer.isError:
            raise LoreConvoRefused(f"LoreConvo refuses {tool}: {one_line(' '.join(texts))}")
        if sum(map(len, texts)) > _ANSWER_BYTES:
            raise LoreConvoRefused(f"LoreConvo answers {tool} with more than {_ANSWER_BYTES:,} characters")
        if isinstance(answer.structuredContent, dict):
            return answer.structuredContent.get("result", answer.structuredContent)
        try:
            found = [json.loads(text) for text in texts]
        except (ValueError, RecursionError):
            raise LoreConvoRefused(
                f"LoreConvo answers {tool} with what is not JSON: {one_line(' '.join(texts))}"
            ) from None
        return found[0] if len(found) == 1 else found


def talk(project: Project, conversation: Callable[[Server], Awaitable[T]], *, seconds: float) -> T:
    """Start the server, have the conversation, end the server; gives what the conversation gives.

    For threads without an event loop. It is over after ``seconds``, and the few more that an obstinate program takes to
    end. Raises LoreConvoDown, LoreConvoRefused, or ConfigurationError if it cannot be started on this machine.
    """
    try:
        from mcp import ClientSession, McpError, StdioServerParameters
        from mcp.client.stdio import stdio_client
        from mcp.types import Implementation
    except ImportError:
        raise ConfigurationError(
            "LoreConvo needs the package mcp", hint="Run: pip install 'nightcrew[loreconvo]'"
        ) from None
    # What is no message is logged there with a traceback a line, and a program can print a million lines.
    logging.getLogger("mcp.client").setLevel(logging.CRITICAL)
    program, *arguments = project.settings.memory.loreconvo
    server = StdioServerParameters(
        command=located(program, project.root),
        args=arguments,
        env=environment(),
        cwd=project.state_dir,  # Programs read .env and the like where they are started; agents cannot write there.
        encoding_error_handler="replace",
    )
    log, began = log_path(project), time.monotonic()

    async def through() -> T:
        with log.open("a", encoding="utf-8", errors="replace") as errors:
            async with stdio_client(server, errlog=errors) as (reading, writing):
                name = Implementation(name="nightcrew", version="0")
                async with ClientSession(reading, writing, client_info=name) as session:
                    await session.initialize()
                    return await conversation(Server(session))

    try:
        _make_room(log)
        return asyncio.run(asyncio.wait_for(through(), seconds))
    except TimeoutError:
        raise LoreConvoDown(f"LoreConvo did not answer within {seconds:.0f} seconds") from None
    except (McpError, OSError, ValueError, RuntimeError, BaseExceptionGroup) as error:
        explained = _explained(error, log)
        if isinstance(explained, LoreConvoDown) and time.monotonic() - began >= seconds:  # It broke of being ended.
            explained = LoreConvoDown(f"LoreConvo did not answer within {seconds:.0f} seconds")
        raise explained from None


def located(program: str, root: Path) -> str:
    """The program's path, from PATH or beside this Python; raises ConfigurationError if it is not there."""
    folders = [*(os.environ.get("PATH") or os.defpath).split(os.pathsep), str(Path(sys.prefix) / "bin")]
    path = os.pathsep.join(folder for folder in folders if Path(folder).is_absolute())  # Not what lies in a repository.
    wanted = str((root / program).absolute()) if os.sep in program else program
    found = shutil.which(wanted, path=path)
    if found is None:
        raise ConfigurationError(
            f"LoreConvo's program {program} is not on this machine",
            hint="Run: pip install 'nightcrew[loreconvo]', or name its path as memory.loreconvo in nightcrew.toml",
        )
    return found


def environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the server's process is given: where its database lies, its licence key, and that it stays off the net."""
    known = os.environ if given is None else given
    own = {name for name in known if name.startswith("LORECONVO_")} - _NOT_GIVEN
    kept = {name: known[name] for name in (*_KEPT, *sorted(own)) if name in known}
    licence = {} if LICENCE in kept or not credentials.has(LICENCE) else {LICENCE: credentials.secret(LICENCE)}
    # Models for its semantic search are fetched by the user, by day, or not at all.
    return {**kept, **licence, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}


def log_path(project: Project) -> Path:
    """Where what the server says of itself goes."""
    return project.state_dir / "logs" / "loreconvo.log"


def _make_room(log: Path) -> None:
    """Begin the log anew when it is long: what is of use is at its end, and that is the last conversation."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.write_bytes(b"")


def _explained(error: BaseException, log: Path) -> BaseException:
    """What broke a conversation, out of the groups that it comes in."""
    while isinstance(error, BaseExceptionGroup):
        error = next((one for one in error.exceptions if isinstance(one, NightcrewError)), error.exceptions[0])
    if isinstance(error, NightcrewError) or not isinstance(error, Exception):
        return error
    if isinstance(error, TimeoutError):
        return LoreConvoDown("LoreConvo stopped answering")
    return LoreConvoDown(f"LoreConvo broke off: {one_line(error) or type(error).__name__} (its log: {log})")


def one_line(said: object) -> str:
    """What a program says, on one line, without secrets (its licence key is one) and without what drives terminals."""
    known = Redaction({**os.environ, "LICENCE_KEY": os.environ.get(LICENCE, "")})
    text = known.text(str(said)[:10_000])
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:300]
