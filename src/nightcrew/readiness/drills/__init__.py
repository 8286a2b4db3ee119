"""The drills, by name. Each lies in a module of its own, imported when it is wanted.

A module of a drill has one constant ``DRILL``, which is it. A drill whose work differs between the crew and a pipeline
has one name and two modules.
"""

from functools import cache
from importlib import import_module

from nightcrew.model.errors import NotFoundError
from nightcrew.readiness.drills.protocol import Drill, On
from nightcrew.readiness.target import CodeTarget, CrewTarget, Target

CATALOGUE: dict[str, dict[On, str]] = {
    "kill-mid-step": {"crew": "kill_crew", "pipeline": "kill_pipeline"},
    "store-unavailable": {"crew": "store_crew", "pipeline": "store_pipeline"},
    "second-worker": {"crew": "second_worker_crew", "pipeline": "second_worker"},
    "transient-storm": {"pipeline": "transient_storm"},
    "rate-limit": {"pipeline": "rate_limit", "crew": "rate_limit_crew"},
    "permanent-error": {"pipeline": "permanent_error"},
    "corrupt-record": {"pipeline": "corrupt_record"},
    "schema-drift": {"pipeline": "schema_drift"},
    "missing-model": {"pipeline": "missing_model", "crew": "missing_model_crew"},
    "slow-model": {"pipeline": "slow_model"},
    "context-overflow": {"pipeline": "context_overflow", "crew": "context_overflow_crew"},
    "failing-records": {"pipeline": "failing_records"},
    "failing-commands": {"crew": "failing_commands"},
    "broken-step": {"pipeline": "broken_step"},
    "broken-change": {"crew": "broken_change"},
    "damaged-work": {"crew": "damaged_work"},
    "failing-agent": {"crew": "failing_agent"},
    "budget-exhaustion": {"crew": "budget_exhaustion"},
    "crash-loop": {"crew": "crash_loop"},
    "gate-bypass": {"crew": "gate_bypass", "pipeline": "gate_bypass_pipeline"},
    "expired-review": {"crew": "expired_review"},
    "prompt-injection": {"crew": "prompt_injection"},
    "dead-alert-channel": {"crew": "dead_alert_channel"},
    "missed-schedule": {"crew": "missed_schedule"},
    "full-disk": {"crew": "full_disk"},
    "restore-from-backup": {"crew": "restore_from_backup"},
}
"""The module of each drill on each kind of target, in the order in which ``--all`` does them.

One that is done alike on both has the same module twice.
"""


def names() -> tuple[str, ...]:
    """The names of all drills of nightcrew."""
    return tuple(CATALOGUE)


def variants(name: str) -> tuple[Drill, ...]:
    """The drill of a name, for each kind of target; raises NotFoundError."""
    return tuple(_load(module) for module in dict.fromkeys(_modules(name).values()))


def for_target(name: str, target: Target) -> Drill:
    """The drill of a name, as it is done on this kind of target (any, if it is done on others). Raises NotFoundError.

    Whether it can be done at all is for :func:`why_not`.
    """
    modules = _modules(name)
    found = next((module for on, module in modules.items() if on == kind(target)), None)
    return _load(found or next(iter(modules.values())))


def _modules(name: str) -> dict[On, str]:
    if name not in CATALOGUE:
        raise NotFoundError(f"there is no drill {name}", hint=f"There are: {', '.join(CATALOGUE)}")
    return CATALOGUE[name]


def why_not(drill: Drill, target: Target) -> str:
    """Empty if ``drill`` can be done on ``target``, else why not."""
    if isinstance(target, CodeTarget):
        return "plain code is read, never run: declare a nightcrew.Pipeline and name it, APP.py:NAME"
    if kind(target) not in drill.on:
        return f"it is about {' and '.join(sorted(_WORDS[on] for on in drill.on))}"
    return drill.applies(target)


def kind(target: Target) -> str:
    """``crew``, ``pipeline`` or ``code``."""
    return "crew" if isinstance(target, CrewTarget) else "code" if isinstance(target, CodeTarget) else "pipeline"


_WORDS = {"crew": "a crew", "pipeline": "a pipeline"}


@cache
def _load(module: str) -> Drill:
    drill: Drill = import_module(f"{__name__}.{module}").DRILL
    return drill
