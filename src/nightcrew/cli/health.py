"""nightcrew health."""

import typer

from nightcrew.cli.output import OPTIONS, opened, show_json, table

health_app = typer.Typer(add_completion=False)
APPS = {"health": health_app}


@health_app.command(epilog="Example: nightcrew health")
def health() -> int:
    """Say of each agent whether it is well: silent, stalled, failing, over its budget, worse than it used to be."""
    from nightcrew.crew.health import health as look

    with opened() as project:
        found = look(project, project.clock())
    if OPTIONS.json:
        show_json([one.plain() for one in found])
    else:
        rows = []
        for one in found:
            began = f"{one.began:%Y-%m-%d %H:%M}" if one.began else "never"
            said = " ".join(f"{problem.message} (nightcrew runbook {problem.runbook})" for problem in one.problems)
            state = ", ".join(problem.kind for problem in one.problems) or "well"
            rows.append((one.agent, state, began, said))
        table(("agent", "state", "last session (UTC)", "what is wrong"), rows, empty="There are no agents.")
    return 0 if all(one.well for one in found) else 1
