"""Verdicts and approvals checked by a tool that is not ours: securesystemslib's DSSE, with the exported keys."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]
from tests.gate import Gate, prepare

from nightcrew.crew import attestations, backlog
from nightcrew.crew.night import run_shift
from nightcrew.store import tickets

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = prepare(tmp_path / "home", monkeypatch)
    yield made
    made.reopen()


def key_of(folder: Path, name: str) -> SSlibKey:
    (path,) = folder.glob(f"keys/{name}.*.pem")
    key = load_pem_public_key(path.read_bytes())
    return SSlibKey.from_crypto(key, keyid=path.name.split(".")[1])


def test_outside_tool_verifies_what_was_verified_about_which_commit(gate: Gate, tmp_path: Path) -> None:
    review = gate.review()
    gate.decide(review.id)
    ticket = backlog.add(gate.project, title="Say what it is", command="printf 'A thing.\\n' > ABOUT.md")
    run_shift(gate.project)
    with gate.project.store.read() as tx:
        done = tickets.get(tx, ticket.id)
    folder = tmp_path / "out"
    files = attestations.export(gate.project, ticket.id, folder)
    verdicts = [json.loads(path.read_bytes()) for path in files if path.name.endswith(".verdict.dsse.json")]
    ours = key_of(folder, "nightcrew")
    said = {}
    for document in verdicts:
        envelope = Envelope.from_dict(document)
        envelope.verify([ours], 1)
        statement = json.loads(envelope.payload)
        commits = {one["name"]: one["digest"] for one in statement["subject"]}
        assert commits["commit/head"] == {"gitCommit": done.head}
        said[statement["predicate"]["desk"]] = statement["predicate"]["verdict"]
    assert said == {"qa": "passed", "security": "passed"}

    attestations.export(gate.project, review.ticket, folder)
    (path,) = folder.glob(f"{review.ticket}.{review.id}.*.approve.dsse.json")
    envelope = Envelope.from_dict(json.loads(path.read_bytes()))
    envelope.verify([key_of(folder, "ada")], 1)
    with pytest.raises(VerificationError):
        envelope.verify([ours], 1)
    envelope.payload += b" "
    with pytest.raises(VerificationError):
        envelope.verify([key_of(folder, "ada")], 1)
