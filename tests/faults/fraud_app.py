"""The pipeline that the fault tests run in processes of their own, and kill; and the records that go through it."""

import ctypes
import json
import os
import random
import threading
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator

import nightcrew as nc

Fate = Literal["accepted", "contract", "permanent", "transient", "gated", "poison", "deadly", "lethal"]


SLOW = float(os.environ.get("FRAUD_APP_SLOW", "0"))
"""Seconds a record takes, for tests that need a run to last."""
HOLD = os.environ.get("FRAUD_APP_HOLD", "")
"""The record from whose id on each waits, for a run that must not end; then the file ``held`` is there."""


class Transaction(BaseModel):
    id: str
    amount: float = Field(gt=0)
    merchant: str
    hour: int = Field(ge=0, le=23)

    @field_validator("merchant")
    @classmethod
    def no_crash(cls, value: str) -> str:
        if value == "lethal":
            ctypes.string_at(0)  # A contract can kill as well as a step.
        return value


fraud = nc.Pipeline("fraud", record=Transaction, key="id", requeue=nc.Requeue(rounds=2, base=3600))


@fraud.step(retry=nc.Retry(attempts=2, base=0.00001))
def score(tx: Transaction) -> nc.Prediction:
    if HOLD and tx.id >= HOLD:
        Path("held").touch()
        threading.Event().wait(3600)  # Should its parent die, it does not stay for ever.
    if SLOW:
        time.sleep(SLOW)
    if tx.merchant == "transient":
        raise ConnectionResetError("the model server hung up")
    if tx.merchant == "permanent":
        raise FileNotFoundError("model.bin")
    if tx.merchant == "poison":
        ctypes.string_at(0)  # A crash in a C library: no exception, no goodbye.
    if tx.merchant == "deadly":
        os.kill(os.getpid(), 9)  # What the kernel's out-of-memory killer does.
    return nc.Prediction(round(tx.amount / 1000, 6), confidence=0.5 if tx.amount > 900 else 0.95)


@fraud.gate
def unsure(_tx: Transaction, prediction: nc.Prediction) -> str | None:
    return "low confidence" if prediction.confidence is not None and prediction.confidence < 0.8 else None


def fate(rng: random.Random) -> Fate:
    """1 % contract violations, 1 % permanent and 5 % transient failures, 2 % gated."""
    at = rng.random()
    shares: tuple[tuple[float, Fate], ...] = (
        (0.01, "contract"), (0.02, "permanent"), (0.07, "transient"), (0.09, "gated"),
    )  # fmt: skip
    for share, found in shares:
        if at < share:
            return found
    return "accepted"


def record(number: int, what: Fate) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": f"tx-{number:08d}",
        "amount": float(number % 890 + 1),
        "merchant": "shop",
        "hour": number % 24,
    }
    if what == "contract":
        made["amount"] = "abc" if number % 2 else -1
    elif what == "gated":
        made["amount"] = 950.0
    elif what != "accepted":
        made["merchant"] = what
    return made


def write(path: Path, count: int, seed: int = 7) -> dict[Fate, int]:
    """Write ``count`` records and give how many there are of each fate."""
    rng = random.Random(seed)
    fates: dict[Fate, int] = dict.fromkeys(("accepted", "contract", "permanent", "transient", "gated"), 0)
    with path.open("w") as file:
        for number in range(count):
            what = fate(rng)
            fates[what] += 1
            file.write(json.dumps(record(number, what)) + "\n")
    return fates
