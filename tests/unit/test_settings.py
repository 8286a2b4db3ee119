"""Settings and the default playbook: what is written is what is in force, and a typing error is named."""

from importlib import resources
from typing import Any

import pytest
from pydantic import BaseModel

from nightcrew.model import playbook as playbooks
from nightcrew.model import settings as settings_module
from nightcrew.model.alerting import AlertChannel, AlertRule
from nightcrew.model.errors import DocumentError
from nightcrew.model.settings import Agent, Brain, ScannerSetting, Settings, describe


def read(**value: Any) -> Settings:
    return Settings.read(value, source="nightcrew.toml")


def test_no_settings_at_all_are_the_defaults() -> None:
    assert read() == Settings()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"budgt": {}}, "there is no setting budgt; did you mean budget?"),
        ({"budget": {"sotf": 1}}, "there is no setting budget.sotf; did you mean budget.soft?"),
        ({"agents": {"build": {"brain": []}}}, "no setting agents.build.brain; did you mean agents.build.brains?"),
        ({"scanner": [{"nam": "x", "command": ["x"]}]}, "there is no setting scanner.nam; did you mean scanner.name?"),
        ({"zzz": 1}, "there is no setting zzz"),
        ({"budget": {"soft": 9, "hard": 3}}, r"budget: .*soft \(9\) is above hard \(3\)"),
        ({"agents": {"build": {"soft": 9, "hard": 3}}}, r"agents\.build.*soft \(9\) is above hard \(3\)"),
        ({"agents": {"qa": {"soft": 61}}}, r"agents\.qa.*soft \(61\) is above hard \(60\)"),
        ({"agents": {"qa": {"hard": 39}}}, r"agents\.qa.*soft \(40\) is above hard \(39\)"),
        ({"budget": {"soft": 0}}, r"budget\.soft"),
        ({"budget": 3}, "budget: "),
        ({"limits": {"test_minutes": 0}}, r"limits\.test_minutes"),
        ({"limits": {"shift_minutes": float("inf")}}, r"limits\.shift_minutes"),
        ({"limits": {"shift_minutes": float("nan")}}, r"limits\.shift_minutes"),
        ({"sandbox": {"mode": "none"}}, r"sandbox\.mode"),
        ({"scanner": [{"name": "x", "command": []}]}, r"scanner\.0\.command"),
        ([], "valid dictionary"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_named(value: Any, says: str) -> None:
    with pytest.raises(DocumentError, match=says) as caught:
        Settings.read(value, source="nightcrew.toml")
    assert str(caught.value).startswith("nightcrew.toml: ")


TABLES = {"agents": Agent, "brains": Brain, "scanner": ScannerSetting, "alert": AlertRule, "channel": AlertChannel}


def fields_of(model: type[BaseModel]) -> int:
    """How many settings a table has, with those of the tables in it."""
    count = 0
    for name, field in model.model_fields.items():
        inner = TABLES.get(name) if model is Settings else None
        nested = inner or field.annotation
        tabular = isinstance(nested, type) and issubclass(nested, BaseModel)
        count += fields_of(nested) if tabular else 1  # type: ignore[arg-type]
    return count


def test_every_setting_is_described_once() -> None:
    rows = describe()
    names = [name for name, _, _ in rows]
    assert len(names) == len(set(names)) == fields_of(Settings)
    assert [name for name, _, text in rows if not text] == []
    for name in ("merge.into", "budget.soft", "agents.NAME.brains", "scanner.command", "database_url"):
        assert name in names
    assert {name: default for name, default, _ in rows}["budget.hard"] == "60"


def test_every_table_of_settings_is_in_the_settings() -> None:
    tables = {
        value
        for value in vars(settings_module).values()
        if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == settings_module.__name__
    }
    used = {field.annotation for field in Settings.model_fields.values()} | {Agent, Brain, ScannerSetting, Settings}
    assert tables <= used


def test_default_playbook_says_what_code_does_by_default() -> None:
    text = (resources.files("nightcrew.model") / "default_playbook.md").read_text(encoding="utf-8")
    rules, prose = playbooks.parse(text, source="default_playbook.md")
    assert rules == playbooks.Playbook()
    assert "# The playbook" in prose
    for name in playbooks.Playbook.model_fields:
        assert f"\n{name.rstrip('_')}:" in text
