"""A guarded function works unchanged within Prefect, LangGraph and Airflow, and retries do not multiply."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, TypedDict

import pytest

import nightcrew as nc
from nightcrew.reliability import RetriesExhaustedError

pytestmark = pytest.mark.peers


class Flaky:
    """Fails as a service does, ``failures`` times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self, text: str) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionResetError("the model server hung up")
        return text.upper()


def guarded(flaky: Flaky, **options: Any) -> Any:
    """As in the how-to: a plain function, decorated."""

    @nc.guard(retry=nc.Retry(attempts=3, base=0.001), **options)
    def shout(text: str) -> str:
        """Shout."""
        return flaky(text)

    return shout


@pytest.fixture
def prefect(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    found = pytest.importorskip("prefect", reason="the extra peers is not installed")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
    from prefect.testing.utilities import prefect_test_harness

    os.environ.update(DO_NOT_TRACK="1", PREFECT_SERVER_ANALYTICS_ENABLED="false")
    with prefect_test_harness(server_startup_timeout=120):
        yield found


@pytest.mark.timeout(600)
def test_in_a_prefect_task(prefect: Any) -> None:
    passing, failing, alone = Flaky(2), Flaky(99), Flaky(99)
    with_retries = prefect.task(guarded(passing), retries=2, retry_delay_seconds=0)
    never = prefect.task(guarded(failing), retries=2, retry_delay_seconds=0)
    without = prefect.task(guarded(alone))

    @prefect.flow
    def flow() -> list[Any]:
        return [with_retries("a"), never("b", return_state=True), without("c", return_state=True)]

    first, second, third = flow()
    assert first == "A"
    assert passing.calls == 3
    assert second.is_failed()
    assert failing.calls == 3, "Prefect's own retries: three tries in all, not nine"
    assert third.is_failed()
    assert alone.calls == 3, "without retries of Prefect's the guard's count"


class State(TypedDict, total=False):
    text: str
    answer: str


def graph(function: Any, **options: Any) -> Any:
    from langgraph.graph import END, START, StateGraph

    def node(state: State) -> State:
        return {"answer": function(state["text"])}

    made = StateGraph(State)
    made.add_node("shout", node, **options)
    made.add_edge(START, "shout")
    made.add_edge("shout", END)
    return made.compile()


def test_in_a_langgraph_node() -> None:
    pytest.importorskip("langgraph", reason="the extra peers is not installed")
    from langgraph.types import RetryPolicy

    passing = Flaky(2)
    assert graph(guarded(passing)).invoke({"text": "a"})["answer"] == "A"
    assert passing.calls == 3

    by_default = Flaky(99)
    with pytest.raises(RetriesExhaustedError):
        graph(guarded(by_default), retry_policy=RetryPolicy(max_attempts=3, initial_interval=0.001)).invoke(
            {"text": "a"}
        )
    assert by_default.calls == 3, "LangGraph's default policy leaves alone what was retried already"

    told = Flaky(99)
    policy = RetryPolicy(max_attempts=3, initial_interval=0.001, retry_on=nc.worth_retrying)
    with pytest.raises(RetriesExhaustedError):
        graph(guarded(told), retry_policy=policy).invoke({"text": "a"})
    assert told.calls == 3


def test_a_guarded_function_is_a_langgraph_node_itself() -> None:
    pytest.importorskip("langgraph", reason="the extra peers is not installed")
    from langgraph.graph import END, START, StateGraph

    @nc.guard(retry=nc.Retry(attempts=2, base=0.001))
    def node(state: State) -> State:
        return {"answer": state["text"].upper()}

    @nc.guard(retry=nc.Retry(attempts=2, base=0.001))
    async def again(state: State) -> State:
        return {"answer": state["answer"] + "!"}

    import asyncio

    made = StateGraph(State)
    made.add_node("shout", node)
    made.add_node("again", again)
    made.add_edge(START, "shout")
    made.add_edge("shout", "again")
    made.add_edge("again", END)
    assert asyncio.run(made.compile().ainvoke({"text": "a"}))["answer"] == "A!"


def test_in_an_airflow_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow has an environment of its own: this runs where it is installed."""
    pytest.importorskip("airflow.sdk", reason="Airflow is not installed (it wants an environment of its own)")
    (tmp_path / "dags").mkdir()
    script = tmp_path / "dags" / "night.py"
    script.write_text(AIRFLOW)
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
    }
    airflow = [sys.executable, "-m", "airflow"]
    subprocess.run([*airflow, "db", "migrate"], env=env, check=True, capture_output=True, timeout=300)
    done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=200)
    # Three tries of Airflow with one call each, not nine.
    assert done.stdout.splitlines()[-1] == "passing 3, alone 3, within retries 3", done.stdout + done.stderr


AIRFLOW = """
from datetime import datetime, timedelta
from airflow.sdk import dag, task
import nightcrew as nc

calls = {"passing": 0, "alone": 0, "within": 0}

def work(name, failures):
    @nc.guard(retry=nc.Retry(attempts=3, base=0.001))
    def guarded(text: str) -> str:
        calls[name] += 1
        if calls[name] <= failures:
            raise ConnectionResetError("the model server hung up")
        return text.upper()
    guarded.__name__ = name
    return guarded

@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False)
def night():
    task(work("passing", 2))("a")
    task(work("alone", 99))("b")
    task(retries=2, retry_delay=timedelta(0))(work("within", 99))("c")

made = night()
if __name__ == "__main__":
    try:
        made.test()
    except Exception as error:
        print(type(error).__name__, error)
    print(f"passing {calls['passing']}, alone {calls['alone']}, within retries {calls['within']}")
"""
