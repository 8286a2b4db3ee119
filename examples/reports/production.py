"""Report drafting as a service: cut with a notice, a plain text when the model is gone, a person before it goes out."""

from pathlib import Path

from prototype import MODEL, draft, incidents
from pydantic import BaseModel, Field

import nightcrew as nc

CONTEXT_TOKENS = 100_000


class Incident(BaseModel):
    id: str
    service: str
    log: str = Field(min_length=1)


reports = nc.Pipeline("reports", record=Incident, key="id", concurrency=8, version=MODEL)


def plain(incident: Incident) -> str:
    return f"{incident.service} had an incident. The last thing we saw: {incident.log.splitlines()[-1]}"


def shorter(incident: Incident) -> tuple[Incident, str]:
    cut = nc.truncate_to(incident.log, CONTEXT_TOKENS, keep="tail")
    return incident.model_copy(update={"log": cut.text}), cut.notice or ""


@reports.step(retry=nc.Retry(attempts=3, base=0.1), timeout=60, breaker="model", fallback=plain, truncate=shorter)
def summary(incident: Incident) -> str:
    return str(draft(incident.log))


@reports.gate
def before_publishing(_incident: Incident, _text: str) -> str:
    return "a person reads it before it is published"


@reports.step(retry=nc.Retry(attempts=3))
def publish(incident: Incident, text: str) -> str:
    Path("published").mkdir(exist_ok=True)
    (Path("published") / f"{incident.id}.txt").write_text(text)
    return text


if __name__ == "__main__":
    print(reports.run(incidents(10)).plain())
