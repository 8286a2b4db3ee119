"""What a guard with everything on costs over the bare call, beside tenacity, stamina and pybreaker.

Run: python bench/guard.py. Rounds are interleaved and the fastest of each counts, since noise only adds. Prints a table
and writes bench/results/guard.json. The peers come with ``pip install -e '.[peers]'``; one that is missing is named.
"""

import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

import nightcrew as nc

CALLS = 20_000
ROUNDS = 15


class Transaction(BaseModel):
    id: str
    amount: float = Field(gt=0)
    merchant: str
    hour: int = Field(ge=0, le=23)


RECORD = {"id": "tx-1", "amount": 12.5, "merchant": "shop-7", "hour": 3}
TRANSACTION = Transaction.model_validate(RECORD)


def score(transaction: Any) -> float:
    return 0.5 if transaction else 0.0


def seconds(function: Callable[[Any], Any], argument: Any) -> float:
    """Seconds a call, over many."""
    began = time.perf_counter()
    for _ in range(CALLS):
        function(argument)
    return (time.perf_counter() - began) / CALLS


def contenders() -> dict[str, tuple[Callable[[Any], Any], Any]]:
    """What is measured: function and argument by name."""
    seen = [0]

    def observe(_seen: nc.Observation) -> None:
        seen[0] += 1

    retry, breaker = nc.Retry(attempts=3), nc.Breaker("bench")
    found: dict[str, tuple[Callable[[Any], Any], Any]] = {
        "bare call": (score, TRANSACTION),
        "pydantic validation alone": (Transaction.model_validate, RECORD),
        "guard: contract, breaker, retry, observation": (
            nc.guard(score, contract=Transaction, breaker=breaker, retry=retry, observe=observe),
            RECORD,
        ),
        "guard: breaker, retry, observation": (
            nc.guard(score, breaker=breaker, retry=retry, observe=observe),
            TRANSACTION,
        ),
        "guard: retry": (nc.guard(score, retry=retry), TRANSACTION),
    }
    for name in ("tenacity", "stamina", "pybreaker"):
        if importlib.util.find_spec(name) is None:
            print(f"{name}: not measured, it is not installed (pip install -e '.[peers]')")
    if importlib.util.find_spec("tenacity"):
        import tenacity

        found["tenacity: retry"] = (
            tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_random_exponential())(score),
            TRANSACTION,
        )
    if importlib.util.find_spec("stamina"):
        import stamina

        found["stamina: retry"] = (stamina.retry(on=ConnectionError, attempts=3)(score), TRANSACTION)
    if importlib.util.find_spec("pybreaker"):
        import pybreaker

        found["pybreaker: breaker"] = (pybreaker.CircuitBreaker()(score), TRANSACTION)
    if "tenacity: retry" in found and "pybreaker: breaker" in found:
        inner = found["pybreaker: breaker"][0]
        both = tenacity.retry(stop=tenacity.stop_after_attempt(3))(inner)
        found["tenacity + pybreaker + pydantic"] = (lambda record: both(Transaction.model_validate(record)), RECORD)
    return found


def main() -> None:
    """Measure all."""
    measured = contenders()
    best = dict.fromkeys(measured, float("inf"))
    for _ in range(ROUNDS):
        for name, (function, argument) in measured.items():
            best[name] = min(best[name], seconds(function, argument))
    bare = best["bare call"]
    print(f"{'what':<46} {'us a call':>10} {'over bare':>10}")
    for name, found in best.items():
        print(f"{name:<46} {found * 1e6:>10.2f} {(found - bare) * 1e6:>10.2f}")
    target = Path(__file__).parent / "results" / "guard.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({name: found * 1e6 for name, found in best.items()}, indent=2))


if __name__ == "__main__":
    main()
