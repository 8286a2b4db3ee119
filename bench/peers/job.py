"""The job that all do: its records, its contract, its function; fast and slow."""

import asyncio
import random
from typing import Any

from pydantic import BaseModel, Field

SLOW_SECONDS = 0.05
CONCURRENCY = 64


class Transaction(BaseModel):
    id: str
    amount: float = Field(gt=0)
    merchant: str
    country: str
    hour: int = Field(ge=0, le=23)


def records(count: int, seed: int = 7) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [
        {
            "id": f"tx-{number:07d}",
            "amount": round(rng.uniform(1, 890), 2),
            "merchant": f"shop-{rng.randrange(100)}",
            "country": rng.choice(("DE", "FR", "US")),
            "hour": rng.randrange(24),
        }
        for number in range(count)
    ]


def score(transaction: Transaction) -> float:
    return min(1.0, transaction.amount / 1000 + (0.1 if transaction.hour < 5 else 0.0))


async def slow_score(transaction: Transaction) -> float:
    """A model behind a network: 50 ms."""
    await asyncio.sleep(SLOW_SECONDS)
    return score(transaction)
