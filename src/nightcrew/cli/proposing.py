"""nightcrew init --pipeline: what would make a pipeline ready, as a diff to accept."""

import sys

import typer

from nightcrew.cli.output import OPTIONS, say, show_json


def propose_for(target: str, sample: str, *, yes: bool) -> int:
    """Show the proposal and, if a person says yes, write it: 0 if nothing is left to do, 1 if it was not taken."""
    from nightcrew.readiness.propose import accept, propose

    proposal = propose(target, OPTIONS.repo, sample=sample)
    if not OPTIONS.json:
        for note in proposal.notes:
            say(f"note: {note}")
        say(f"\n{proposal.diff}" if proposal.changes else "Nothing to change.")
    asks = not yes and not OPTIONS.json and sys.stdin.isatty() and bool(proposal.changes)
    taken = yes or (asks and typer.confirm("Write this?", default=False))
    written = accept(proposal) if taken else []
    if OPTIONS.json:
        changes = [str(change.path) for change in proposal.changes]
        show_json({"changes": changes, "diff": proposal.diff, "notes": proposal.notes, "written": written})
    elif written:
        say(f"Wrote {', '.join(path.name for path in written)}. Run your tests, then: nightcrew ready {target}")
    elif proposal.changes:
        say("Nothing was written. To take it: the same with --yes.")
    return 1 if proposal.changes and not written else 0
