"""What nightcrew adds to each turn of a model, over the client alone: charging, journal, tools, the meter.

Run: python -m bench.turns [TURNS]. A scripted model on loopback answers at once, so that what is left is the clients'
own time. Each contender holds the same conversation: read a file, again and again. The time of a turn is between two
requests as the server sees them; rounds are interleaved. Prints a table and writes bench/results/turns.json.
"""

import asyncio
import http.client
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.brain_task import Purse, task
from tests.model_server import Asked, Call, ModelServer, Reply, model_server, say

from nightcrew.brains import Context
from nightcrew.brains.ending import Finish
from nightcrew.brains.meter import Meter
from nightcrew.brains.model import ModelBrain
from nightcrew.brains.model.tools import Tools
from nightcrew.crew import backlog
from nightcrew.crew.delivery import fresh_workspace, integration_head
from nightcrew.crew.desk import Desk
from nightcrew.crew.project import Project, load_project
from nightcrew.crew.setup import initialise
from nightcrew.crew.tasks import task_of
from nightcrew.model.budget import Budget
from nightcrew.model.settings import Brain
from nightcrew.store import sessions, shifts

TURNS = 60
ROUNDS = 3
MODEL = "claude-sonnet-5-5"


def script(turns: int) -> Callable[[Asked], Reply]:
    def answer(asked: Asked) -> Reply:
        if asked.turn >= turns:
            ended = Call("finish", {"finished": True, "done": "Read."})
            return say(ended) if "finish" in asked.tools else say("Read.")
        return say(Call("read", {"path": "a.txt"}))

    return answer


def client_alone(server: ModelServer, folder: Path, like: dict[str, Any]) -> None:
    """The model's own client in the loop that its documentation shows, with the same prompt and tools."""
    from anthropic import AsyncAnthropic

    async def talk() -> None:
        client = AsyncAnthropic(api_key="k", base_url=server.url, max_retries=0)
        messages: list[Any] = [like["messages"][0]]
        same = {name: like[name] for name in ("system", "tools", "max_tokens")}
        while True:
            answer = await client.messages.create(model=MODEL, messages=messages, **same)
            messages.append({"role": "assistant", "content": answer.content})
            calls = [block for block in answer.content if block.type == "tool_use"]
            if not calls or calls[0].name == "finish":
                return
            results = [
                {"type": "tool_result", "tool_use_id": call.id, "content": (folder / "a.txt").read_text()}
                for call in calls
            ]
            messages.append({"role": "user", "content": results})

    asyncio.run(talk())


def framework_alone(server: ModelServer, folder: Path, like: dict[str, Any]) -> None:
    """pydantic-ai as its documentation shows, with the same prompt and tools."""
    from pydantic_ai import Agent, UsageLimits
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    model = AnthropicModel(MODEL, provider=AnthropicProvider(api_key="k", base_url=server.url))
    (folder / "work").mkdir(exist_ok=True)
    (folder / "work" / "a.txt").write_text((folder / "a.txt").read_text())
    tools = Tools(task(folder, Purse())).all()
    content = like["messages"][0]["content"]
    system, asked = like["system"], content if isinstance(content, str) else content[0]["text"]
    agent = Agent(model, tools=tools, system_prompt=system, output_type=[str, Finish], retries=5)
    agent.run_sync(asked, usage_limits=UsageLimits(request_limit=None))


def nightcrew(server: ModelServer, project: Project, number: int) -> None:
    """The model brain at a desk: turns charged and answers kept in SQLite, a real workspace."""
    ticket = backlog.add(project, title=f"Read {number}")
    budget = Budget(soft=100_000, hard=100_000)
    with project.store.begin() as tx:
        shift = shifts.current(tx) or shifts.start(tx, agents=["build"])
        session = sessions.create(
            tx, shift=shift.id, agent="build", manifest="M-0", budget=budget, brain="it", tickets=[ticket.id]
        )
        sessions.start(tx, session)
    place = project.work_dir / "workspaces" / f"{session}-{ticket.id}"
    desk = Desk(project, session, "build", shift.id, ticket, None, budget, place)
    workspace = fresh_workspace(desk, "build", commit=integration_head(desk), branch=f"nightcrew/{ticket.id}")
    brain = ModelBrain("it", Brain(kind="model", model=f"anthropic:{MODEL}", base_url=server.url))
    answer = brain.work(task_of(desk, workspace, context=Context()))
    assert answer.finished


def turn_milliseconds(server: ModelServer) -> float:
    """The median time between two requests."""
    times = [asked.at for asked in server.asked]
    return 1000 * statistics.median(after - before for before, after in itertools.pairwise(times))


def prepare(folder: Path) -> Project:
    (folder / "a.txt").write_text("one line\nanother line\n")
    git = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@x", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@x"}
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "Begin"]):
        subprocess.run(["git", *words], cwd=folder, check=True, env={**os.environ, **git})
    initialise(folder)
    return load_project(folder)


def request(port: int, token: str) -> float:
    """Milliseconds of one plain request."""
    body = json.dumps({"model": MODEL, "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]})
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/v1/messages", body, {"x-api-key": token, "Content-Type": "application/json"})
    connection.getresponse().read()
    connection.close()
    return 1000 * (time.perf_counter() - began)


def through_the_meter(folder: Path, count: int) -> tuple[float, float]:
    """Median milliseconds of a request without and with the meter in between, in turns."""
    straight, metered = [], []
    with model_server(script=lambda _: say("hi")) as server:
        purse = Purse(soft=10**6, hard=10**6)
        with Meter(purse, upstream=server.url, key="k", place=folder, timeout_seconds=10) as meter:
            for _ in range(count):
                straight.append(request(server.server_port, "k"))
                metered.append(request(meter.port, meter.token))
    return statistics.median(straight), statistics.median(metered)


def main() -> None:
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else TURNS
    found: dict[str, list[float]] = {"client alone": [], "pydantic-ai alone": [], "nightcrew, model brain": []}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        os.environ |= {"HOME": name, "ANTHROPIC_API_KEY": "k", "NIGHTCREW_CONFIG_DIR": f"{name}/config"}
        folder = Path(name) / "repo"
        folder.mkdir()
        project = prepare(folder)
        (Path(name) / "a.txt").write_text((folder / "a.txt").read_text())
        with model_server(script=script(2)) as server:
            nightcrew(server, project, ROUNDS)
            like = server.asked[0].body
        for number in range(ROUNDS):
            for contender in found:
                with model_server(script=script(turns)) as server:
                    if contender == "client alone":
                        client_alone(server, folder, like)
                    elif contender == "pydantic-ai alone":
                        framework_alone(server, Path(name), like)
                    else:
                        nightcrew(server, project, number)
                    found[contender].append(turn_milliseconds(server))
        project.close()
        straight, metered = through_the_meter(Path(name), 200)
    medians = {contender: statistics.median(times) for contender, times in found.items()}
    base = medians["client alone"]
    print(f"\n{turns} turns, median of {ROUNDS} rounds; milliseconds a turn")
    for contender, milliseconds in medians.items():
        print(f"{contender:28} {milliseconds:8.2f}   added {milliseconds - base:6.2f}   x{milliseconds / base:5.2f}")
    print(f"{'a request':28} {straight:8.2f}")
    print(f"{'a request through the meter':28} {metered:8.2f}   added {metered - straight:6.2f}")
    added = medians["nightcrew, model brain"] - base
    print(f"\nadded by nightcrew: {added:.2f} ms a turn (target: at most 10)")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "turns.json").write_text(
        json.dumps({"turns": turns, "milliseconds": medians, "added": added, "meter": metered - straight}, indent=2)
    )


if __name__ == "__main__":
    main()
