"""The eight boxes of the crew on a repository: its settings, its playbook, who may decide, what the repository has."""

from nightcrew.brains import MECHANICAL
from nightcrew.checks.project import detect
from nightcrew.crew.planning import agents_of, brain_names
from nightcrew.crew.project import Project
from nightcrew.model.errors import NightcrewError
from nightcrew.monitoring.alerts.configured import SETTINGS_FILE
from nightcrew.readiness.alerting_box import look_at_alerts, look_at_runbooks
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.looks import Look
from nightcrew.readiness.outside_code import ci_that_tests, has_tests
from nightcrew.store import schedules
from nightcrew.store.connection import is_sqlite

_SUBJECTS = ("crew", "agent:build", "agent:qa", "agent:security", "schedule:*", "brain:*")


def look_at_crew(project: Project) -> dict[Box, Look]:
    """What the crew of a repository says of each box. Nothing of the repository is run."""
    looks = {box: Look(box) for box in Box}
    looks[Box.INPUTS].code("tickets, handoffs, findings and verdicts are documents with a schema: nightcrew schema")
    looks[Box.INPUTS].setting(f"the playbook fits its schema ({project.playbook_sha256[:12]})")
    _retries(looks[Box.RETRIES], project)
    look_at_alerts(looks[Box.MONITORING], project.settings, _SUBJECTS, project.root)
    _state(looks[Box.STATE], project)
    _reviews(looks[Box.REVIEWS], project)
    _fallbacks(looks[Box.FALLBACKS], project)
    _tests(looks[Box.TESTS], project)
    look_at_runbooks(looks[Box.RUNBOOKS], project.settings)
    return looks


def _retries(look: Look, project: Project) -> None:
    names = {name for agent in agents_of(project) for name in brain_names(project, agent)} - {MECHANICAL}
    look.code("requests to models and to forges go through the guard: transient failures are tried again, no others")
    if project.settings.limits.attempts_per_shift > 1:
        look.setting(f"a ticket is taken up at most {project.settings.limits.attempts_per_shift} times a shift")
    if not names and not project.settings.github.repository and not project.settings.memory.loreconvo:
        look.needless = "it calls nothing outside this machine: its brain is mechanical"


def _state(look: Look, project: Project) -> None:
    sqlite = is_sqlite(project.database_url)
    look.setting(f"state in {'SQLite (WAL), for one machine' if sqlite else 'Postgres, for several machines'}")
    try:
        project.check_ledger()
        look.code("the ledger goes on from what was last seen of it")
    except NightcrewError as error:
        look.gap(str(error), error.hint or "Look at: nightcrew audit verify")
    with project.store.read() as tx:
        names = [one.schedule.name for one in schedules.list(tx)]
    if names:
        look.setting(f"a shift that was missed or killed is caught up by the schedule {', '.join(names)}")


def _reviews(look: Look, project: Project) -> None:
    gates = project.playbook.gates
    look.setting(f"a person decides from severity {gates.severity} on, and whenever the build would break")
    people = project.anchor.reviewers(project.repository_id)
    if people:
        look.setting(
            f"{len({one.name for one in people})} may decide: {', '.join(sorted({one.name for one in people}))}"
        )
    else:
        look.gap(
            "nobody may decide: what a gate holds would wait forever", "Enrol somebody: nightcrew reviewer add NAME"
        )


def _fallbacks(look: Look, project: Project) -> None:
    for agent in agents_of(project):
        brains = brain_names(project, agent)
        if not brains:
            look.code(f"{agent}: tools of this machine alone; what cannot be checked is said, and never passed")
        elif len(brains) > 1:
            look.setting(f"{agent}: {', then '.join(brains)}, then it is deferred with a note")
        elif tuple(brains) == (MECHANICAL,):
            look.code(
                f"{agent}: mechanical, which needs nothing from outside; what it cannot do is deferred with a note"
            )
        else:
            look.gap(
                f"the agent {agent} has only the brain {brains[0]}: when it fails, nothing is done",
                f'Give it one more: [agents.{agent}] brains = ["{brains[0]}", "mechanical"]',
                SETTINGS_FILE,
            )


def _tests(look: Look, project: Project) -> None:
    found = detect(project.root)
    pytest = "pytest" if found.kind == "python" and has_tests(project.root, found.source, found.packages) else ""
    command = project.settings.checks.test or " ".join(found.test or ()) or pytest
    if command:
        look.setting(f"QA runs: {command}")
    else:
        look.gap(
            "no tests were found: QA cannot tell what a change breaks", "Name the command: [checks] test", SETTINGS_FILE
        )
    ci = ci_that_tests(project.root)
    if ci is not None:
        look.file(f"CI runs tests: {ci}")
    else:
        look.gap("no CI runs the tests", "Have it written: nightcrew init --ci github")
