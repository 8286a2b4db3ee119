"""Fraud flagging as a service: a contract, rules for when the model fails, and a person for what is unsure or large."""

from prototype import score, transactions
from pydantic import BaseModel, Field

import nightcrew as nc


class Transaction(BaseModel):
    id: str
    amount: float = Field(gt=0, le=1_000_000)
    hour: int = Field(ge=0, le=23)
    km_from_home: float = Field(ge=0)


fraud = nc.Pipeline("fraud", record=Transaction, key="id", version="gradient-boosting-1")


def rules(tx: Transaction) -> nc.Prediction:
    return nc.Prediction("fraud" if tx.amount > 1000 and tx.hour < 5 else "fine", confidence=0.6)


@fraud.step(retry=nc.Retry(attempts=3, base=0.05), timeout=2.0, fallback=rules)
def flag(tx: Transaction) -> nc.Prediction:
    probability = score(tx.model_dump())
    return nc.Prediction("fraud" if probability > 0.5 else "fine", confidence=max(probability, 1 - probability))


@fraud.gate
def unsure_or_large(tx: Transaction, prediction: nc.Prediction) -> str | None:
    if (prediction.confidence or 0) < 0.8:
        return "low confidence"
    return "a large amount" if prediction.value == "fraud" and tx.amount > 2000 else None


if __name__ == "__main__":
    print(fraud.run(transactions(200, seed=8), sink="decisions.jsonl").plain())
