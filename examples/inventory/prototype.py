"""Inventory routing, as it stood in a notebook: which warehouse sends how much of an order, at the least cost."""

import random

import numpy as np
from scipy.optimize import linprog

WAREHOUSES = ("north", "south", "west")


def orders(count, seed=7):
    """Made with a seed: demand of three shops, stock of three warehouses, cost of each way; some cannot be filled."""
    rng = random.Random(seed)
    for number in range(count):
        yield {
            "id": f"order-{seed}-{number:05d}",
            "demand": [rng.randrange(1, 40) for _ in range(3)],
            "stock": [rng.randrange(10, 60) for _ in WAREHOUSES],
            "cost": [[round(rng.uniform(1, 9), 2) for _ in range(3)] for _ in WAREHOUSES],
        }


def route(order):
    """Units that each warehouse (row) sends to each shop (column); a linear program."""
    shops, houses = len(order["demand"]), len(order["stock"])
    filled = [[float(column == shop) for _ in range(houses) for column in range(shops)] for shop in range(shops)]
    within = [[float(row == house) for row in range(houses) for _ in range(shops)] for house in range(houses)]
    solved = linprog(
        np.array(order["cost"]).ravel(), A_ub=within, b_ub=order["stock"], A_eq=filled, b_eq=order["demand"]
    )
    return solved.x.reshape(houses, shops).tolist()  # crashes when there is no solution


if __name__ == "__main__":
    for order in orders(5):
        print(order["id"], route(order))
