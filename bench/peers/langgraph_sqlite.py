"""LangGraph: a graph with one node under a RetryPolicy, a thread a record, checkpoints by SqliteSaver."""

import sqlite3
from pathlib import Path
from typing import Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import RetryPolicy

from bench.peers.job import Transaction, score


class State(TypedDict, total=False):
    record: dict[str, Any]
    output: float


def scored(state: State) -> State:
    return {"output": score(Transaction.model_validate(state["record"]))}


def run(records: list[dict[str, Any]], directory: Path) -> int:
    graph = StateGraph(State)
    graph.add_node("score", scored, retry_policy=RetryPolicy(max_attempts=3))
    graph.add_edge(START, "score")
    graph.add_edge("score", END)
    with SqliteSaver.from_conn_string(str(directory / "langgraph.db")) as saver:
        compiled = graph.compile(checkpointer=saver)
        for record in records:
            compiled.invoke({"record": record}, {"configurable": {"thread_id": record["id"]}})
    with sqlite3.connect(directory / "langgraph.db") as connection:
        return int(connection.execute("SELECT count(DISTINCT thread_id) FROM checkpoints").fetchone()[0])
