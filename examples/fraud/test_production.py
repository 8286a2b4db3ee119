"""What a change must not break: the model's step, the rules behind it, and a run from end to end."""

import json
from pathlib import Path

from production import Transaction, flag, fraud, rules

LARGE = Transaction(id="tx-1", amount=5000, hour=3, km_from_home=900)


def test_a_large_amount_at_night_far_from_home_is_fraud():
    assert flag(LARGE).value == rules(LARGE).value == "fraud"


def test_a_run_accounts_for_every_transaction(tmp_path):
    fraud.use(state=tmp_path)
    lines = Path(__file__).with_name("sample.jsonl").read_text().splitlines()
    summary = fraud.run([json.loads(line) for line in lines[:50]], sink=tmp_path / "decisions.jsonl")
    assert (summary.seen, summary.adds_up, summary.states.get("quarantined", 0)) == (50, True, 0)
