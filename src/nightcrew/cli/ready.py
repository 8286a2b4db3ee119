"""nightcrew ready."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightcrew.cli.output import OPTIONS, say, show_json
from nightcrew.model.errors import UsageError

if TYPE_CHECKING:
    from nightcrew.readiness.boxes import BoxState
    from nightcrew.readiness.checklist import Checklist
    from nightcrew.readiness.statement import ReadinessPredicate
    from nightcrew.readiness.target import Target

ready_app = typer.Typer(add_completion=False)
APPS = {"ready": ready_app}
_SHOWN = 6
_WORDS = {"proven": "proven", "configured": "configured", "missing": "MISSING", "not_applicable": "not applicable"}


@ready_app.command(epilog="Example: nightcrew ready app.py:fraud --report readiness.md")
def ready(
    target: Annotated[
        str,
        typer.Argument(metavar="[TARGET]", help="a folder, its crew; APP.py:NAME, a pipeline; APP.py, plain code"),
    ] = "",
    report: Annotated[Path | None, typer.Option(help="write a signed report: .md or .html")] = None,
    html: Annotated[Path | None, typer.Option(help="write the signed report as a page")] = None,
    badge: Annotated[Path | None, typer.Option(help="write a badge, an SVG")] = None,
    verify: Annotated[Path | None, typer.Option(help="say whether a report is genuine, and still holds")] = None,
    key: Annotated[Path | None, typer.Option(help="verify with this public key, not with that of this machine")] = None,
    public_key: Annotated[Path | None, typer.Option(help="write the public key that reports are verified with")] = None,
    every: Annotated[bool, typer.Option("--all", help="show all evidence and everything that is missing")] = False,
) -> int:
    """Say of each of the eight boxes whether it is proven by a drill, configured, missing, or not applicable."""
    from nightcrew.readiness.target import CrewTarget, resolve

    if key is not None and verify is None:
        raise UsageError("--key is the key to verify a report with", hint="Name the report: --verify FILE --key FILE")
    if public_key is not None and any((target, report, html, badge, verify)):
        raise UsageError("--public-key writes the key and nothing else", hint="Give it alone.")
    if public_key is not None:
        return _written(public_key)
    if verify is not None:
        return _verified(verify, target, key)
    found = resolve(target, OPTIONS.repo)
    try:
        return _looked(found, target, [path for path in (report, html and _page(html)) if path], badge, every)
    finally:
        if isinstance(found, CrewTarget):
            found.project.close()


def _page(path: Path) -> Path:
    return path if path.suffix == ".html" else path.with_name(f"{path.name}.html")


def _looked(found: "Target", named: str, reports: list[Path], badge: Path | None, every: bool) -> int:
    from nightcrew.readiness.checklist import check

    checklist = check(found)
    if reports or badge is not None:
        _write(found, checklist, reports, badge)
    if OPTIONS.json:
        show_json({**checklist.plain(), "written": [str(path) for path in (*reports, badge) if path]})
    else:
        _say(checklist, named, every)
        for path in (*reports, *([badge] if badge else [])):
            say(f"Written: {path}")
    return 0 if checklist.ready else 1


def _write(found: "Target", checklist: "Checklist", reports: list[Path], badge: Path | None) -> None:
    from nightcrew.crew.published import write_atomically
    from nightcrew.readiness.badge import badge as drawn
    from nightcrew.readiness.report import write

    for path in reports:
        write(found, checklist, path)
    if badge is not None:
        write_atomically(badge.absolute(), drawn(checklist).encode())


def _say(found: "Checklist", named: str, every: bool) -> None:
    width = max(len(state.box) for state in found.boxes)
    status = max(len(_WORDS[state.status]) for state in found.boxes)
    for state in found.boxes:
        said = state.box.asks if state.gaps else state.reason
        say(f"{state.box:<{width}}  {_WORDS[state.status]:<{status}}  {_line(said)}")
        _details(state, " " * (width + 2), named, every)
    say(f"\n{found.target}: {found.summary()}.")
    if found.target.startswith("code:") and not found.ready:
        say(f"Next: declare a nightcrew.Pipeline around it, and look again: nightcrew ready {named}:NAME")
    left = list(dict.fromkeys(name for names in found.undrilled.values() for name in names))
    if left:
        target = f" --target {named}" if named else ""
        say(f"Not drilled as it is now: {', '.join(left)}. Do what can be done here: nightcrew drill --all{target}")


def _details(state: "BoxState", margin: str, named: str, every: bool) -> None:
    if every:
        for one in state.evidence:
            entry = f" (entry {one.entry} of the ledger)" if one.entry is not None else ""
            say(f"{margin}+ {one.kind}: {_line(one.detail)}{entry}")
    gaps = state.gaps if every else state.gaps[:_SHOWN]
    for gap in gaps:
        say(f"{margin}- {f'{gap.where}: ' if gap.where else ''}{_line(gap.what)}")
    if len(state.gaps) > len(gaps):
        say(f"{margin}- and {len(state.gaps) - len(gaps)} more: nightcrew ready {named or '.'} --all")
    for fix in dict.fromkeys(gap.fix for gap in gaps):
        say(f"{margin}  > {_line(fix)}")


def _line(text: str) -> str:
    return " ".join(text.split())


def _written(path: Path) -> int:
    from nightcrew.readiness.report import write_public_key

    key_id = write_public_key(path)
    if OPTIONS.json:
        show_json({"key_id": key_id, "written": [str(path)]})
    else:
        say(f"Written: {path}, the public key {key_id}")
    return 0


def _verified(path: Path, named: str, key: Path | None) -> int:
    """Exit status 0: genuine, and it holds; 1: genuine, but something has changed, or nothing was compared."""
    from nightcrew.approvals import TrustAnchor
    from nightcrew.model.clock import isoformat
    from nightcrew.readiness.report import read

    said = read(path, TrustAnchor.of_user(), key)
    compared = bool(named) or (said.target == "crew" and key is None)
    found = _differs(said, named) if compared else []
    if OPTIONS.json:
        show_json({
            "target": said.target, "at": isoformat(said.time), "ready": said.ready, "genuine": True,
            "compared": compared, "holds": compared and not found, "changed": found,
        })  # fmt: skip
    else:
        say(f"Genuine: nightcrew {said.nightcrew} signed it on {said.time:%Y-%m-%d %H:%M} UTC, of {said.target}.")
        if not compared:
            say(f"Whether it still holds was not looked at; name the target: nightcrew ready TARGET --verify {path}")
        elif found:
            say("It does not hold any more: " + "; ".join(_line(one) for one in found) + ".")
        else:
            say("It holds: nothing that it speaks of has changed.")
    return 0 if compared and not found else 1


def _differs(said: "ReadinessPredicate", named: str) -> list[str]:
    from nightcrew.readiness.target import CrewTarget, resolve
    from nightcrew.readiness.verifying import differs

    target = resolve(named, OPTIONS.repo)
    try:
        return differs(said, target)
    finally:
        if isinstance(target, CrewTarget):
            target.project.close()
