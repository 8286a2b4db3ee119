"""50 ms async calls, 64 at a time, in each framework as far as plain use goes."""

import asyncio
from pathlib import Path
from typing import Any

from bench.peers.job import CONCURRENCY, Transaction, slow_score


def run_gather(records: list[dict[str, Any]], _directory: Path) -> int:
    """asyncio with a semaphore: nothing is stored."""

    async def main() -> int:
        slots = asyncio.Semaphore(CONCURRENCY)

        async def one(record: dict[str, Any]) -> float:
            async with slots:
                return await slow_score(Transaction.model_validate(record))

        return len(await asyncio.gather(*map(one, records)))

    return asyncio.run(main())


def run_langgraph(records: list[dict[str, Any]], directory: Path) -> int:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
    from langgraph.graph import END, START, StateGraph
    from langgraph.types import RetryPolicy

    from bench.peers.langgraph_sqlite import State

    async def scored(state: State) -> State:
        return {"output": await slow_score(Transaction.model_validate(state["record"]))}

    async def main() -> int:
        graph = StateGraph(State)
        graph.add_node("score", scored, retry_policy=RetryPolicy(max_attempts=3))
        graph.add_edge(START, "score")
        graph.add_edge("score", END)
        slots = asyncio.Semaphore(CONCURRENCY)
        async with AsyncSqliteSaver.from_conn_string(str(directory / "slow.db")) as saver:
            compiled = graph.compile(checkpointer=saver)

            async def one(record: dict[str, Any]) -> Any:
                async with slots:
                    return await compiled.ainvoke({"record": record}, {"configurable": {"thread_id": record["id"]}})

            return len(await asyncio.gather(*map(one, records)))

    return asyncio.run(main())


def prepare_dbos(directory: Path) -> None:
    from bench.peers.dbos_plain import launch

    launch(directory)


def run_dbos(records: list[dict[str, Any]], _directory: Path) -> int:
    from dbos import DBOS, SetWorkflowID

    @DBOS.step(retries_allowed=True, max_attempts=3)
    async def scored_slowly(record: dict[str, Any]) -> float:
        return await slow_score(Transaction.model_validate(record))

    @DBOS.workflow()
    async def decide_slowly(record: dict[str, Any]) -> float:
        return await scored_slowly(record)

    async def main() -> int:
        slots = asyncio.Semaphore(CONCURRENCY)

        async def one(record: dict[str, Any]) -> float:
            async with slots:
                with SetWorkflowID(record["id"]):
                    return await decide_slowly(record)

        return len(await asyncio.gather(*map(one, records)))

    done = asyncio.run(main())
    DBOS.destroy()
    return done


def prepare_prefect(directory: Path) -> None:
    from bench.peers.prefect_flow import prepare

    prepare(directory)


def run_prefect(records: list[dict[str, Any]], _directory: Path) -> int:
    from prefect import flow, task

    @task(retries=3)
    async def scored(record: dict[str, Any]) -> float:
        return await slow_score(Transaction.model_validate(record))

    @flow
    async def decide_all(given: list[dict[str, Any]]) -> int:
        slots = asyncio.Semaphore(CONCURRENCY)

        async def one(record: dict[str, Any]) -> float:
            async with slots:
                return await scored(record)

        return len(await asyncio.gather(*map(one, given)))

    return int(asyncio.run(decide_all(records)))
