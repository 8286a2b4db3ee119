"""Inventory routing as a service: a heuristic where the optimiser fails, a person where an order cannot be filled."""

from prototype import orders, route
from pydantic import BaseModel, Field, NonNegativeInt

import nightcrew as nc


class Order(BaseModel):
    id: str
    demand: list[NonNegativeInt] = Field(min_length=1)
    stock: list[NonNegativeInt] = Field(min_length=1)
    cost: list[list[float]]


inventory = nc.Pipeline("inventory", record=Order, key="id", version="highs-1")


def greedy(order: Order) -> dict[str, object]:
    """The cheapest way first, as far as stock reaches."""
    left, wanted = list(order.stock), list(order.demand)
    sent = [[0.0] * len(wanted) for _ in left]
    for _, house, shop in sorted((c, h, s) for h, row in enumerate(order.cost) for s, c in enumerate(row)):
        units = min(left[house], wanted[shop])
        sent[house][shop] += units
        left[house] -= units
        wanted[shop] -= units
    return {"routes": sent, "short": sum(wanted)}


@inventory.step(retry=None, timeout=5.0, fallback=greedy)
def optimise(order: Order) -> dict[str, object]:
    return {"routes": route(order.model_dump()), "short": 0}


@inventory.gate
def cannot_be_filled(_order: Order, plan: dict[str, object]) -> str | None:
    return f"{plan['short']} units cannot be sent" if plan["short"] else None


if __name__ == "__main__":
    print(inventory.run(orders(300), sink="routes.jsonl").plain())
