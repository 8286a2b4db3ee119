"""nightcrew inbox: list, show, approve, reject, escalate."""

from typing import Annotated

import typer

from nightcrew.cli.names import review_id
from nightcrew.cli.output import OPTIONS, opened, say, show_json, table
from nightcrew.model.errors import UsageError
from nightcrew.model.review import Decision

app = typer.Typer(add_completion=False, invoke_without_command=True, help="What waits for a person.")
APPS = {"inbox": app}
Reviewer = Annotated[str | None, typer.Option(help="who decides, if several are enrolled")]
_SHOWN = 50
Names = Annotated[list[str], typer.Argument(metavar="R-0001 | PIPELINE/KEY...")]
Comment = Annotated[str, typer.Option(help="why; agents get to read it")]


@app.callback(epilog="Example: nightcrew inbox show R-0001")
def inbox(
    context: typer.Context, every: Annotated[bool, typer.Option("--all", help="decided ones too")] = False
) -> None:
    """List the reviews that wait for a person."""
    if context.invoked_subcommand is None:
        _list(every)


@app.command("list", epilog="Example: nightcrew inbox list --all")
def list_(every: Annotated[bool, typer.Option("--all", help="decided ones too")] = False) -> None:
    """List the reviews that wait for a person, as inbox alone does."""
    _list(every)


def _list(every: bool) -> None:
    from nightcrew.crew.inbox import all_reviews, pending, record_row, row, waiting_records

    with opened() as project:
        found = all_reviews(project) if every else pending(project)
        records = waiting_records(project, limit=None if OPTIONS.json else _SHOWN)
    if OPTIONS.json:
        show_json([*(row(review) for review in found), *map(record_row, records)])
        return
    rows = [(r.id, r.severity, r.ticket, r.state, f"{r.deadline:%Y-%m-%d %H:%M}", r.reason) for r in found]
    nothing = "" if records else "Nothing waits for you."
    if rows or nothing:
        table(("id", "severity", "ticket", "state", "deadline (UTC)", "reason"), rows, empty=nothing)
    if records:
        table(("record", "confidence", "reason"), [(r.name, r.confidence, r.reason) for r in records], empty="")
        if len(records) == _SHOWN:
            say(f"The first {_SHOWN} records; all of them: nightcrew outcome list --state in_review --limit 1000000")


@app.command(epilog="Example: nightcrew inbox show R-0001")
def show(review: Annotated[str, typer.Argument(metavar="R-0001 | PIPELINE/KEY")]) -> None:
    """Everything needed to decide: reason, ticket, handoffs, diff, and what each choice does."""
    if "/" in review:
        from nightcrew.cli.records import show_one

        show_one(review)
        return
    from nightcrew.crew.inbox import row, view

    with opened() as project:
        found = view(project, review_id(review))
    if OPTIONS.json:
        show_json(
            {
                **row(found.review),
                "subjects": found.review.subjects,
                "ticket_document": found.ticket.plain(),
                "handoffs": [handoff.plain() for handoff in found.handoffs],
                "diff": found.diff,
                "effects": found.effects,
            }
        )
        return
    say(f"{found.review.id} ({found.review.severity}, {found.review.state}): {found.review.reason}")
    say(f"{found.ticket.id} {found.ticket.title}\n{found.ticket.body}")
    for handoff in found.handoffs:
        say(f"\n{handoff.id} {handoff.sender} -> {handoff.to} ({handoff.kind})\n{handoff.done}")
        for finding in handoff.findings:
            say(f"  {finding.severity} {finding.tool} {finding.rule} {finding.path or ''}: {finding.message}")
    if found.diff:
        say(f"\n{found.diff}")
    say()
    for choice, effect in found.effects.items():
        say(f"  {choice}: {effect}")


@app.command(epilog="Example: nightcrew inbox approve R-0001 --reviewer ada --comment 'agreed'")
def approve(review: Names, reviewer: Reviewer = None, comment: Comment = "") -> None:
    """Approve exactly what the review, or the records, hold, by signature."""
    _decide(review, Decision.APPROVE, reviewer, comment, None)


@app.command(epilog="Example: nightcrew inbox reject R-0002 --comment 'not needed'")
def reject(review: Names, reviewer: Reviewer = None, comment: Comment = "") -> None:
    """Reject it: the ticket ends, a record gets no result."""
    _decide(review, Decision.REJECT, reviewer, comment, None)


@app.command(epilog="Example: nightcrew inbox escalate R-0002 --to grace")
def escalate(
    review: str,
    reviewer: Reviewer = None,
    comment: Comment = "",
    to: Annotated[str | None, typer.Option(help="the next reviewer; default: by the playbook's order")] = None,
) -> None:
    """Hand it to the next reviewer."""
    _decide([review], Decision.ESCALATE, reviewer, comment, to)


def _decide(names: list[str], decision: Decision, reviewer: str | None, comment: str, to: str | None) -> None:
    from nightcrew.cli.ask import passphrase
    from nightcrew.crew.inbox import decide, decide_records, row

    if any("/" in name for name in names):
        with opened() as project:
            count = decide_records(project, names, decision, reviewer=reviewer, comment=comment, passphrase=passphrase)
        if OPTIONS.json:
            show_json({"decision": decision, "records": count})
        else:
            say(f"{count} {'record' if count == 1 else 'records'}: {decision}.")
            if decision is Decision.APPROVE:
                say("They go on with: nightcrew retry run APP.py:NAME")
        return
    if len(names) != 1:
        raise UsageError("one review is decided at a time; several records (PIPELINE/KEY) may be")
    with opened() as project:
        decided = decide(
            project,
            review_id(names[0]),
            decision,
            reviewer=reviewer,
            comment=comment,
            passphrase=passphrase,
            escalate_to=to,
        )
    if OPTIONS.json:
        show_json(row(decided))
    else:
        say(f"{decided.id} is {decided.state}.")
