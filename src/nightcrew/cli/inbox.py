"""nightcrew inbox: list, show, approve, reject, escalate, ask, stats."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightcrew.cli.names import review_id
from nightcrew.cli.output import OPTIONS, opened, say, show_json, table
from nightcrew.model.errors import UsageError
from nightcrew.model.review import Decision

if TYPE_CHECKING:
    from nightcrew.crew.inbox import ReviewView

app = typer.Typer(add_completion=False, invoke_without_command=True, help="What waits for a person.")
APPS = {"inbox": app}
Reviewer = Annotated[str | None, typer.Option(help="who decides, if several are enrolled")]
_SHOWN = 50
Names = Annotated[list[str], typer.Argument(metavar="R-0001... | PIPELINE/KEY...")]
Comment = Annotated[str, typer.Option(help="why; agents get to read it")]
Key = Annotated[Path | None, typer.Option(help="SSH key to sign with; a .pub file takes it from the agent or a token")]


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
    rows = [(r.id, r.severity, r.ticket, r.state, r.assigned, f"{r.deadline:%Y-%m-%d %H:%M}", r.reason) for r in found]
    nothing = "" if records else "Nothing waits for you."
    if rows or nothing:
        table(("id", "severity", "ticket", "state", "asked", "deadline (UTC)", "reason"), rows, empty=nothing)
    if records:
        table(("record", "confidence", "reason"), [(r.name, r.confidence, r.reason) for r in records], empty="")
        if len(records) == _SHOWN:
            say(f"The first {_SHOWN} records; all of them: nightcrew outcome list --state in_review --limit 1000000")


@app.command(epilog="Example: nightcrew inbox show R-0001")
def show(review: Annotated[str, typer.Argument(metavar="R-0001 | PIPELINE/KEY")]) -> None:
    """Everything needed to decide: reason, ticket, findings, handoffs, diff, who may, and what each choice does."""
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
                "findings": [finding.plain() for finding in found.findings],
                "needs": found.needs.plain(),
                "decisions": [
                    {"decision": d.decision, "reviewer": d.reviewer, "at": d.at, "comment": d.comment}
                    for d in found.decisions
                ],
                "earlier": [earlier.__dict__ for earlier in found.earlier],
                "group": found.group,
                "problem": found.problem,
                "obstacle": found.obstacle,
                "diff": found.diff,
                "effects": found.effects,
            }
        )
        return
    _tell(found)


def _tell(found: "ReviewView") -> None:
    review = found.review
    say(f"{review.id} ({review.severity}, {review.state}): {review.reason}")
    if found.problem:
        say(f"NOT WHAT WAS ASKED FOR: {found.problem}")
    say(f"{found.ticket.id} {found.ticket.title}\n{found.ticket.body}")
    for handoff in found.handoffs:
        say(f"\n{handoff.id} {handoff.sender} -> {handoff.to} ({handoff.kind})\n{handoff.done}")
        if handoff.questions:
            say(f"  Questions: {handoff.questions}")
        for check in handoff.checks:
            say(f"  {check.name}: {check.status}. {check.detail}")
    for finding in found.findings:
        place = f"{finding.path}:{finding.line}" if finding.path and finding.line else finding.path or ""
        say(f"\n  {finding.severity} {finding.tool} {finding.rule} {place}: {finding.message}")
        if finding.evidence:
            say("    " + finding.evidence.replace("\n", "\n    "))
    if found.unlisted:
        say(f"\n  {found.unlisted} more findings of {found.ticket.id} are not listed here.")
    if found.diff:
        say(f"\n{found.diff}")
    for one in found.earlier:
        same = "the same finding" if one.fingerprint else f"another of {one.rule}"
        say(f"\nBefore: {one.reviewer}: {one.decision} in {one.review} ({same}), {one.at:%Y-%m-%d}. {one.comment}")
    say(f"\nDeadline {review.deadline:%Y-%m-%d %H:%M} UTC; asked: {review.assigned or 'every reviewer'}")
    may = ", ".join(found.needs.may) or "every enrolled reviewer"
    signed = [d for d in found.decisions if d.decision is Decision.APPROVE]
    say(f"Approvals: {len(signed)} of {found.needs.approvals}; may decide: {may}")
    for decision in found.decisions:
        say(f"  {decision.reviewer}: {decision.decision}, {decision.at:%Y-%m-%d %H:%M}. {decision.comment}")
    if found.obstacle:
        say(f"Nobody can decide it as things are: {found.obstacle}.")
    if found.group:
        say(f"Waiting under the same rule: {', '.join(found.group)}")
    say()
    for choice, effect in found.effects.items():
        say(f"  {choice}: {effect}")


@app.command(epilog="Example: nightcrew inbox approve R-0001 --reviewer ada --comment 'agreed'")
def approve(review: Names, reviewer: Reviewer = None, comment: Comment = "", key: Key = None) -> None:
    """Approve exactly what the reviews, or the records, hold, by one signature."""
    _decide(review, Decision.APPROVE, reviewer, comment, key)


@app.command(epilog="Example: nightcrew inbox reject R-0002 --comment 'not needed'")
def reject(review: Names, reviewer: Reviewer = None, comment: Comment = "", key: Key = None) -> None:
    """Reject it: the ticket ends, a record gets no result."""
    _decide(review, Decision.REJECT, reviewer, comment, key)


@app.command(epilog="Example: nightcrew inbox escalate R-0002 --to grace")
def escalate(
    review: str,
    reviewer: Reviewer = None,
    comment: Comment = "",
    to: Annotated[str | None, typer.Option(help="the next reviewer; default: by the playbook's order")] = None,
    key: Key = None,
) -> None:
    """Hand it to the next reviewer."""
    _decide([review], Decision.ESCALATE, reviewer, comment, key, to)


@app.command(epilog="Example: nightcrew inbox ask R-0002 --comment 'why is the timeout gone?'")
def ask(
    review: str,
    comment: Annotated[str, typer.Option(help="the question")],
    reviewer: Reviewer = None,
    key: Key = None,
) -> None:
    """Ask the agent a question back; the review goes on waiting."""
    _decide([review], Decision.ASK, reviewer, comment, key)


@app.command(epilog="Example: nightcrew inbox stats --risk 0.05")
def stats(
    risk: Annotated[float, typer.Option(help="share of wrong decisions allowed above a threshold")] = 0.05,
    doubt: Annotated[float, typer.Option(help="chance allowed that the guarantee fails")] = 0.1,
) -> None:
    """How often reviewers agree with each agent and rule, how long decisions take, and what a threshold would do."""
    from nightcrew.crew.feedback import stats_of

    if not (0 < risk < 1 and 0 < doubt < 1):
        raise UsageError("--risk and --doubt lie between 0 and 1")
    with opened() as project:
        found = stats_of(project, alpha=risk, delta=doubt)
    if OPTIONS.json:
        show_json(found.plain())
        return
    from nightcrew.cli.agreement import tell

    tell(found)


def _decide(
    names: list[str], decision: Decision, reviewer: str | None, comment: str, key: Path | None, to: str | None = None
) -> None:
    from nightcrew.cli.ask import passphrase
    from nightcrew.crew import deciding, reviewers
    from nightcrew.crew.inbox import row

    with opened() as project:

        def signer(keys):  # type: ignore[no-untyped-def]
            return reviewers.pick(project, keys, passphrase=passphrase, key=key)

        if any("/" in name for name in names):
            count = deciding.decide_records(project, names, decision, reviewer=reviewer, comment=comment, signer=signer)
            _tell_records(decision, count)
            return
        decided = deciding.decide(
            project,
            [review_id(name) for name in names],
            decision,
            reviewer=reviewer,
            comment=comment,
            signer=signer,
            escalate_to=to,
        )
    if OPTIONS.json:
        show_json(row(decided[0]) if len(decided) == 1 else [row(one) for one in decided])
        return
    for one in decided:
        if decision is Decision.APPROVE and one.state == "escalated":
            say(f"{one.id} has your approval and needs another person's; asked now: {one.assigned or 'everybody'}.")
            continue
        asked = f"; asked now: {one.assigned}" if one.assigned and one.state == "escalated" else ""
        said = "The question lies at the agent's desk" if decision is Decision.ASK else f"{one.id} is {one.state}"
        say(f"{said}{asked}.")


def _tell_records(decision: Decision, count: int) -> None:
    if OPTIONS.json:
        show_json({"decision": decision, "records": count})
        return
    say(f"{count} {'record' if count == 1 else 'records'}: {decision}.")
    if decision is Decision.APPROVE:
        say("They go on with: nightcrew retry run APP.py:NAME")
