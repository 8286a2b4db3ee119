"""How things shall be at the forge, from what is stored here: the wishes that the outbox takes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from nightcrew.crew.delivery import ticket_branch
from nightcrew.crew.forge import withheld, wording
from nightcrew.crew.forge.checks import Said
from nightcrew.crew.forge.code_scanning import Upload
from nightcrew.crew.forge.pull_requests import Wanted
from nightcrew.crew.forge.states import PREFIX, Spoken
from nightcrew.crew.project import Project
from nightcrew.model.document import Document
from nightcrew.model.handoff import Handoff
from nightcrew.model.ticket import ENDED, Event, State, Ticket
from nightcrew.store import effects, findings, handoffs, ledger, links, reviews, shifts, tickets
from nightcrew.store.effects import Effect
from nightcrew.store.findings import FindingState
from nightcrew.store.store import Tx

PUSH, PULL, SARIF = "push", "pull", "sarif"
CHECK, ISSUE = "check ", "issue "
"""How the kinds of effects begin that there are several of on one ticket."""

_SHOWN = (State.READY, State.DONE, State.IN_REVIEW)
"""States in which a change is fit to be looked at: QA, or QA and security, are through with it."""


class Branch(Document):
    """``branch`` shall be at ``head``; ``ours`` are commits that nightcrew made for it before."""

    branch: str
    head: str
    ours: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """What is known of the forge before anything is planned: the base of pull requests, the branches' owner.

    ``landed`` are the tickets' commits that the base contains already; ``public``: everybody can read it.
    """

    source: str
    base: str
    owner: str
    landed: frozenset[str] = frozenset()
    public: bool = True


def concerned(project: Project, tx: Tx, source: str) -> list[Ticket]:
    """The tickets that anything is to be done for: with a change to show, linked with an issue, or shown before.

    A repository whose crew worked for a year before it was told of GitHub does not open a year's pull requests: of what
    is done, only what was merged since the last shift began counts.
    """
    planned: dict[str, list[Effect]] = {}
    for effect in effects.of_subjects(tx):
        planned.setdefault(effect.subject, []).append(effect)
    linked = {link.ticket for link in links.list(tx, source=source)}
    last = shifts.latest(tx)
    merged = ledger.subjects_between(tx, "ticket.merge", last.started, None) if last else []
    live = {one.id for one in tickets.all(tx, states=(State.READY, State.IN_REVIEW), broken=[])}
    names = {*planned, *linked, *live, *(subject.partition(":")[2] for subject in merged)}
    found = tickets.some(tx, sorted(names, key=lambda name: (len(name), name)))
    settings = project.settings.github
    return [
        ticket
        for ticket in found
        if ticket.state not in ENDED
        or not _is_settled(
            tx, ticket, planned.get(ticket.id, []), ISSUE if ticket.id in linked and settings.issues else PULL
        )
    ]


def _is_settled(tx: Tx, ticket: Ticket, planned: list[Effect], last_kind: str) -> bool:
    """Whether an ended ticket needs no look: all is done, and what is planned last was planned after its end."""
    if any(effect.state != "done" for effect in planned):
        return False
    entry = ledger.latest_for(tx, f"ticket:{ticket.id}")
    ended = datetime.fromisoformat(entry.at) if entry else None
    return ended is not None and any(effect.created > ended for effect in planned if effect.kind.startswith(last_kind))


def plan_change(project: Project, tx: Tx, ticket: Ticket, place: Place) -> tuple[int, str]:
    """Plan branch, pull request, checks and findings of one ticket, and nothing else of what was planned of these.

    Gives how many effects are new, and why the change is not shown if it is withheld.
    """
    settings = project.settings.github
    # What is published is what the sealed ledger says: rows alone could claim any commit, and any verdict.
    ticket = tickets.verify_row(tx, ticket.id)
    written = [handoffs.verify(tx, one.id) for one in handoffs.list(tx, ticket=ticket.id)]
    wanted: dict[str, Document] = {}
    shown = _is_shown(tx, ticket) and ticket.head not in place.landed
    hidden = withheld.why(project, tx, ticket, public=place.public) if shown else ""
    shown = shown and not hidden
    if shown and ticket.head is not None:
        wanted[PUSH] = Branch(branch=ticket_branch(ticket.id), head=ticket.head, ours=_ours(written, ticket.head))
    if settings.pull_requests and not hidden:
        pull = _pull(project, tx, ticket, written, place, shown=shown)
        wanted |= {PULL: pull} if pull is not None else {}
    if shown and settings.checks:
        wanted |= {f"{CHECK}{said.desk}": said for said in _verdicts(tx, ticket)}
    if shown and settings.code_scanning and ticket.head is not None:
        wanted[SARIF] = _upload(tx, ticket, ticket.head)
    # What was decided since, or switched off, is not done because it was wanted once.
    effects.withdraw(tx, subject=ticket.id, kinds=[PUSH, PULL, SARIF, f"{CHECK}*"], but=wanted)
    return _plan_all(tx, ticket, wanted), hidden


def plan_issues(project: Project, tx: Tx, ticket: Ticket, place: Place) -> int:
    """Plan what the ticket's issues are to say; after the pull request is there, whose address they tell."""
    wanted: dict[str, Document] = {}
    if project.settings.github.issues:
        ticket = tickets.verify_row(tx, ticket.id)
        wanted = {
            f"{ISSUE}{number}": _spoken(project, tx, ticket, number, place)
            for number in _issues(tx, ticket, place.source)
        }
    effects.withdraw(tx, subject=ticket.id, kinds=[f"{ISSUE}*"], but=wanted)
    return _plan_all(tx, ticket, wanted)


def _plan_all(tx: Tx, ticket: Ticket, wanted: Mapping[str, Document]) -> int:
    return sum(effects.plan(tx, kind=kind, subject=ticket.id, doc=doc.plain()) for kind, doc in wanted.items())


def _is_shown(tx: Tx, ticket: Ticket) -> bool:
    """Whether its change, if it has one, is to be seen: not while a person is asked whether it may be worked at all."""
    if ticket.head is None or ticket.state not in _SHOWN:
        return False
    if ticket.state is not State.IN_REVIEW:
        return True
    return ticket.review is not None and reviews.get(tx, ticket.review).on_approve is not Event.APPROVE_WORK


def _pull(
    project: Project, tx: Tx, ticket: Ticket, written: list[Handoff], place: Place, *, shown: bool
) -> Wanted | None:
    before = effects.latest_done(tx, PULL, ticket.id)
    head = ticket.head if shown else None
    if head is None:
        # What was opened once says what became of it; a commit that is not shown is not pushed either.
        if before is None or not before.result.get("number"):
            return None
        head = str(before.result.get("head", ""))
    return Wanted(
        branch=ticket_branch(ticket.id),
        owner=place.owner,
        base=place.base,
        head=head,
        title=wording.title_of(ticket),
        body=wording.body_of(
            ticket, written, closes=_issues(tx, ticket, place.source), into=project.settings.merge.into
        ),
        draft=not shown or ticket.state is State.IN_REVIEW,
        closed=ticket.state is State.REJECTED,
    )


def _verdicts(tx: Tx, ticket: Ticket) -> Iterator[Said]:
    """The last verdict of each desk on exactly the ticket's commit, as the sealed ledger has it."""
    latest: dict[str, str] = {}
    for entry in ledger.entries(tx, subject=f"verdict:{ticket.id}"):
        said = ledger.data(entry)
        if entry.action == withheld.VERDICT_ACTION and said.get("head") == ticket.head:
            ledger.check(tx, entry)
            latest[str(said["desk"])] = str(said["handoff"])
    for desk, name in latest.items():
        handoff = handoffs.verify(tx, name)
        if handoff.verdict is None or ticket.head is None:
            continue
        title, summary = wording.summary_of(handoff)
        yield Said(
            desk=desk,
            head=ticket.head,
            handoff=name,
            verdict=handoff.verdict,
            title=title,
            summary=summary,
            annotations=tuple(wording.annotations_of(handoff.findings)),
        )


def _upload(tx: Tx, ticket: Ticket, head: str) -> Upload:
    found = [one.finding for one in findings.list(tx, ticket=ticket.id) if one.state is FindingState.OPEN]
    shown = tuple(one.model_copy(update={"evidence": ""}) for one in found)
    return Upload(branch=ticket_branch(ticket.id), head=head, ticket=ticket.id, findings=shown)


def _spoken(project: Project, tx: Tx, ticket: Ticket, number: int, place: Place) -> Spoken:
    pull = effects.latest_done(tx, PULL, ticket.id)
    url = str(pull.result.get("url", "")) if pull else ""
    lines = [f"Nightcrew has this as {ticket.id}. It {wording.state_in_words(ticket.state)}."]
    lines += [f"Pull request: {url}"] if url else []
    return Spoken(
        number=number,
        ticket=ticket.id,
        label=f"{PREFIX}{str(ticket.state).replace('_', ' ')}",
        body="\n\n".join(lines),
        mark=wording.mark_of(project.repository_id, ticket.id),
        # Where a pull request is merged for it, GitHub closes it.
        close=ticket.state is State.DONE
        and (not project.settings.github.pull_requests or (not url and ticket.head in place.landed)),
    )


def _issues(tx: Tx, ticket: Ticket, source: str) -> list[int]:
    """The numbers of the issues that the ticket stands for, and that the sealed ledger says were linked with it."""
    found = [link.ref for link in links.list(tx, ticket=ticket.id) if link.source == source]
    if not found:
        return []
    linked = set()
    for entry in ledger.entries(tx, subject=f"link:{ticket.id}"):
        ledger.check(tx, entry)
        said = ledger.data(entry)
        linked.add((said.get("source"), said.get("ref")))
    return [int(ref) for ref in found if (source, ref) in linked and ref.isdecimal()]


def _ours(written: Iterable[Handoff], head: str) -> tuple[str, ...]:
    """The commits that handoffs of the ticket name: the branch there may be moved on from these."""
    heads = dict.fromkeys(one.change.head for one in written if one.change is not None)
    return tuple(name for name in heads if name != head)
