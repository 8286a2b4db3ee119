"""Alert rules as documents: what is accepted, what is refused and how it is said, and nightcrew's own."""

import tomllib

import pytest

from nightcrew.model.errors import DocumentError
from nightcrew.model.settings import Settings, describe
from nightcrew.model.severity import Severity
from nightcrew.monitoring.alerts.burn import PAIRS
from nightcrew.monitoring.alerts.defaults import NAMES, RUNBOOKS, rules_of, runbook_of
from nightcrew.monitoring.alerts.routing import routes_of
from nightcrew.monitoring.alerts.words import duration


def read(text: str) -> Settings:
    return Settings.read(tomllib.loads(text), source="nightcrew.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[alert]]\nname = "x"\nmetric = "m"\nabov = 1', "there is no setting alert.abov; did you mean alert.above?"),
        ('[[alert]]\nname = "x"\nmetric = "m"', "x: say one of above, below, absent, expected_by, objective"),
        ('[[alert]]\nname = "x"\nmetric = "m"\nabove = 1\nbelow = 0', "not above and below"),
        ('[[alert]]\nname = "X y"\nmetric = "m"\nabove = 1', "alert.0.name: Value error, a name is small letters"),
        ('[[alert]]\nname = "x"\nmetric = "m"\nabove = 1\nclear = 2', "x: clear lies on the good side"),
        ('[[alert]]\nname = "x"\nmetric = "m"\nbelow = 1\nclear = 0', "x: clear lies on the good side"),
        ('[[alert]]\nname = "x"\nmetric = "m"\nstatistic = "share"\nabove = 1', "x: of is for share and objective"),
        ('[[alert]]\nname = "x"\nmetric = "m"\nobjective = 0.99', "x: of is for share and objective"),
        ('[[alert]]\nname = "x"\nmetric = "m"\nobjective = 1.0\nof = "n"', "alert.0.objective"),
        ('[[alert]]\nname = "x"\nmetric = "m"\nexpected_by = "25:00"', "alert.0.expected_by"),
        ('[[alert]]\nname = "x"\nmetric = "m"\nexpected_by = "03:00"\ntimezone = "Europe/Berln"', "no time zone"),
        ('[[alert]]\nname = "x"\nmetric = "m"\nabove = 1\nchannels = ["chatt"]', "alert x: there is no channel chatt"),
        ('[[alert]]\nname = "x"\nmetric = "m"\nabove = 1\nescalate_to = ["default"]', "escalate_after and escalate_to"),
        ('[[alert]]\nname = "x"\nmetric = "m"\nabove = 1\nstatistic = "p42"', "alert.0.statistic"),
        ('[[alert]]\nname = "x"\nmetric = "m"\nabove = 1\nat_least = 1', "x: at_least is for change and share"),
        ('[[alert]]\nname = "x"\nmetric = "m"\nabove = nan', "alert.0.above"),
        ('[[channel]]\nname = "c"\nurls_env = "json://a"', "name the environment variable"),
        ('[[channel]]\nname = "c"', "c: a message has urls_env or urls_file, a ticket neither"),
        ('[[channel]]\nname = "c"\nkind = "ticket"\nurls_env = "X"', "c: a message has urls_env"),
        ('[[channel]]\nname = "default"\nurls_env = "X"', "default is the channel of [notify]"),
        ('[[channel]]\nname = "c"\nurls_file = "urls"', "the absolute path"),
        ('[alerts]\nquiet_from = "22:00"', "quiet_from and quiet_until go together"),
        ('[alerts]\nchannels = ["pager"]', "alerts: there is no channel pager; there are default"),
        ('[alerts]\nurl = "localhost"', "an address begins with http"),
    ],
)
def test_what_is_wrong_is_said_by_its_name(text: str, said: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read(text)
    assert said in str(caught.value)


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(DocumentError, match="there are two named x"):
        read('[[alert]]\nname = "x"\nmetric = "m"\nabove = 1\n' * 2)


def test_every_setting_is_described_by_the_name_it_is_written_with() -> None:
    names = {name: text for name, _, text in describe()}
    assert {"alert.for", "alert.objective", "channel.urls_env", "alerts.quiet_from"} <= set(names)
    assert "alert.for_" not in names
    assert all(names.values())


def test_a_rule_with_the_name_of_our_own_takes_its_place_and_others_can_be_switched_off() -> None:
    settings = read(
        '[alerts]\ndisabled = ["drift"]\n[[alert]]\nname = "pipeline-errors"\nmetric = "errors"\nabove = 3\n'
        '[[alert]]\nname = "mine"\nmetric = "errors"\nabove = 3\n'
    )
    found = {rule.name: rule for rule in rules_of(settings)}
    assert "drift" not in found
    assert found["pipeline-errors"].above == 3
    assert runbook_of(found["pipeline-errors"]) == "AL-PIPELINE-ERRORS"
    assert runbook_of(found["mine"]) == "AL-OWN-RULE"


def test_every_rule_of_ours_has_a_runbook_of_its_own() -> None:
    assert {f"AL-{name.upper()}" for name in NAMES} < set(RUNBOOKS)


def test_by_default_the_first_channel_that_takes_it_gets_it() -> None:
    settings = read('[[channel]]\nname = "a"\nurls_env = "A"\n[[channel]]\nname = "t"\nkind = "ticket"\n')
    assert routes_of(settings, Severity.HIGH) == [("a", "default")]
    assert routes_of(settings, Severity.HIGH, without="a") == [("default",)]
    assert routes_of(Settings(), Severity.HIGH, without="default") == []


def test_critical_alerts_can_go_elsewhere_and_some_channels_get_all() -> None:
    settings = read(
        '[alerts]\nchannels = ["a"]\ncritical_channels = ["b", "a"]\nalso = ["t"]\n'
        '[[channel]]\nname = "a"\nurls_env = "A"\n[[channel]]\nname = "b"\nurls_env = "B"\n'
        '[[channel]]\nname = "t"\nkind = "ticket"\n'
    )
    assert routes_of(settings, Severity.HIGH) == [("a",), ("t",)]
    assert routes_of(settings, Severity.CRITICAL) == [("b", "a"), ("t",)]


def test_burn_rates_are_those_of_the_workbook_and_follow_the_objectives_time() -> None:
    assert [round(pair.rate(30), 3) for pair in PAIRS] == [14.4, 6.0, 1.0]
    assert [round(pair.rate(28), 2) for pair in PAIRS] == [13.44, 5.6, 1.0]
    assert [round(pair.rate(90), 1) for pair in PAIRS] == [43.2, 18.0, 3.0]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.25, "250 ms"), (1.5, "1.5 s"), (600, "10 min"), (26 * 3600, "26 h"), (80 * 3600, "3 days")],
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said
