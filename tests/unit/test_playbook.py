"""The playbook: what it may change, what it may not, and that the shipped one is the defaults."""

from importlib import resources

import pytest

from nightcrew.model.errors import DocumentError
from nightcrew.model.frontmatter import join
from nightcrew.model.playbook import Playbook, parse


def test_shipped_playbook_is_the_defaults() -> None:
    text = resources.files("nightcrew.model").joinpath("default_playbook.md").read_text(encoding="utf-8")
    playbook, prose = parse(text, source="default")
    assert playbook == Playbook()
    assert prose.startswith("# ")


def test_playbook_reads_back_as_it_was_written() -> None:
    assert parse(join(Playbook().plain(), "prose"), source="test") == (Playbook(), "prose")


@pytest.mark.parametrize(
    ("front", "named"),
    [
        ({"gates": {"severity": "critical"}}, "gates.severity"),
        ({"gates": {"breaks_build": False}}, "gates.breaks_build"),
        ({"block_from": "critical"}, "block_from"),
        ({"gates": {"severity": "low"}, "block_from": "medium"}, "block_from"),
        ({"routes": [{"when": {}, "to": "merge"}]}, "routes.0.to"),
        ({"gate": {}}, "gate"),
    ],
)
def test_rule_that_would_weaken_a_gate_is_refused_by_name(front: dict[str, object], named: str) -> None:
    with pytest.raises(DocumentError, match=named):
        parse(join(front, ""), source="playbook.md")


def test_gate_may_be_lowered() -> None:
    playbook, _ = parse(join({"gates": {"severity": "medium"}}, ""), source="playbook.md")
    assert playbook.gates.severity == "medium"
