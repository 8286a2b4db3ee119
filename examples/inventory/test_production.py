"""What a change must not break: the optimiser, the heuristic behind it, and a run from end to end."""

from pathlib import Path

from production import Order, greedy, inventory, optimise

ORDER = Order(id="order-1", demand=[2], stock=[5], cost=[[1.0]])


def test_both_send_what_was_ordered():
    assert optimise(ORDER)["routes"] == greedy(ORDER)["routes"] == [[2.0]]


def test_a_run_accounts_for_every_order(tmp_path):
    inventory.use(state=tmp_path)
    summary = inventory.run(Path(__file__).with_name("sample.jsonl"), sink=tmp_path / "routes.jsonl")
    assert (summary.seen, summary.adds_up, summary.states.get("quarantined", 0)) == (60, True, 0)
