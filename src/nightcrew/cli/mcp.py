"""nightcrew mcp."""

from typing import Annotated

import typer

from nightcrew.cli.output import OPTIONS

app = typer.Typer(add_completion=False)
APPS = {"mcp": app}


@app.command(epilog="Example: claude mcp add nightcrew -- nightcrew mcp --repo .")
def mcp(
    read_only: Annotated[
        bool, typer.Option("--read-only", help="no tickets are filed, everything can be read")
    ] = False,
) -> None:
    """Serve backlog, handoffs, memory, report and inbox to editors and agents, over MCP on standard input and output.

    Reviews are shown and cannot be decided. An editor starts it; it ends when the editor hangs up.
    """
    import sys

    from nightcrew.model.errors import ConfigurationError

    if sys.stdin is None or sys.stdout is None:
        raise ConfigurationError("there is no standard input and output to serve on", hint="Let an editor start it.")
    try:
        from nightcrew.mcp.stdio import serve
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("mcp", "anyio"):
            raise
        raise ConfigurationError(
            "the MCP library is not installed", hint="Install it with: pip install 'nightcrew[mcp]'"
        ) from None
    if sys.stdin.isatty():
        sys.stderr.write("nightcrew mcp speaks to a program: see docs/how-to/mcp.md. Ctrl-C ends it.\n")
    serve(OPTIONS.repo.absolute(), read_only=read_only)
