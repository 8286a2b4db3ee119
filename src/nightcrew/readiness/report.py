"""The readiness report as a file: Markdown or HTML, with the signed envelope in it; written, and read back."""

import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from nightcrew.approvals import TrustAnchor
from nightcrew.approvals.service import service_public_key, service_signer
from nightcrew.checks.text import plain_text
from nightcrew.crew.published import write_atomically
from nightcrew.model.errors import IntegrityError, UsageError
from nightcrew.readiness.boxes import BoxState, Evidence
from nightcrew.readiness.checklist import Checklist
from nightcrew.readiness.drills.running import opened
from nightcrew.readiness.statement import VOID, Page, ReadinessPredicate, predicate_of, sign, verify
from nightcrew.readiness.target import CodeTarget, PipelineTarget, Target
from nightcrew.store import ledger

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")
_MARKS = {".md": ("```json\n", "\n```\n"), ".html": ('<pre id="dsse">', "</pre>")}
_MAX_BYTES = 5_000_000
_STATUS = {"proven": "proven", "configured": "configured", "missing": "missing", "not_applicable": "not applicable"}


def write(target: Target, found: Checklist, path: Path) -> None:
    """Write the signed report of a checklist: HTML if the name ends so, else Markdown; the ledger has its digest."""
    anchor = _anchor(target)
    predicate = predicate_of(found, repository(target))
    key = service_signer(anchor.directory).key_id
    page = _html(predicate, key) if path.suffix == ".html" else _markdown(predicate, key)
    envelope = sign(predicate, page, anchor)
    if not isinstance(target, CodeTarget):
        with opened(target) as store, store.begin() as tx:
            said = {"sha256": envelope.sha256(), "fingerprint": found.fingerprint.digest, "ready": found.ready}
            subject = f"readiness:{found.target}"
            ledger.append(tx, actor="nightcrew", action="readiness.report", subject=subject, data=said)
    write_atomically(path.absolute(), page.whole(envelope).encode())


def read(path: Path, anchor: TrustAnchor, key: Path | None = None) -> ReadinessPredicate:
    """What a report says, if it is genuine: signed by nightcrew's key here, or by the public ``key`` in a file.

    Raises IntegrityError if not, UsageError for a file that is none.
    """
    public_key = service_public_key(anchor.directory) if key is None else _public_key(key)
    if public_key is None:
        raise IntegrityError(
            "nightcrew has no key of its own here, so it signed no report",
            hint="Name the public key of the nightcrew that did: --key FILE",
        )
    data = _bytes(path)
    if len(data) > _MAX_BYTES:
        raise UsageError(f"{path} is larger than any report")
    begin, end = _MARKS[".html" if path.suffix == ".html" else ".md"]
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise IntegrityError(f"{path} is not as it was written: it is not UTF-8", hint=VOID) from None
    before, found, rest = text.rpartition(begin)
    envelope, closed, after = rest.partition(end)
    if not found or not closed:
        raise IntegrityError(f"{path} has no signed statement in it", hint=VOID)
    return verify(envelope.encode(), Page(before + begin, end + after), public_key)


def write_public_key(path: Path) -> str:
    """Write the public key that reports are checked with; gives its id."""
    from nightcrew.crew.attestations import pem

    signer = service_signer(TrustAnchor.of_user().directory)
    write_atomically(path.absolute(), pem(signer.public_key))
    return signer.key_id


def repository(target: Target) -> str:
    """The hash of the first entry of the ledger of a target; empty if there is none. Nothing is made."""
    if isinstance(target, PipelineTarget):
        return target.pipeline.state.repository_id if target.pipeline.state.exists() else ""
    return "" if isinstance(target, CodeTarget) else target.project.repository_id


def _public_key(path: Path) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_bytes(path))
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path} is no Ed25519 public key", hint="It is written by: nightcrew ready --public-key FILE")
    return key.public_bytes_raw()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _anchor(target: Target) -> TrustAnchor:
    if isinstance(target, PipelineTarget):
        return target.pipeline.state.anchor
    return TrustAnchor.of_user() if isinstance(target, CodeTarget) else target.project.anchor


def _markdown(predicate: ReadinessPredicate, key: str) -> Page:
    begin, end = _MARKS[".md"]
    lines = [f"# Readiness of {_said(predicate.target)}", "", f"{_when(predicate)}. {_verdict(predicate)}", ""]
    lines += ["| box | status | why |", "|---|---|---|"]
    lines += [f"| {one.box} | {_STATUS[one.status]} | {_said(one.reason)} |" for one in predicate.boxes]
    for one in predicate.boxes:
        lines += ["", f"## {one.box}: {_STATUS[one.status]}", "", f"{one.box.asks[0].upper()}{one.box.asks[1:]}.", ""]
        lines += [f"- {_said(_evidence(each))}" for each in one.evidence]
        lines += [f"- Missing: {_said(_where(each.where) + each.what)}. {_said(each.fix)}." for each in one.gaps]
    lines += ["", "## What it holds for", "", _holds(), ""]
    lines += [f"- {_said(name)}: {digest}" for name, digest in sorted(predicate.parts.items())]
    lines += ["", "## Signature", "", _signed(predicate, key), "", begin]
    return Page("\n".join(lines), end)


def _html(predicate: ReadinessPredicate, key: str) -> Page:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    def safe(value: Any) -> Any:
        return value if isinstance(value, Markup) or not isinstance(value, str) else plain_text(value, limit=20_000)

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=safe
    )
    text = environment.from_string(_template()).render(
        report=predicate, when=_when(predicate), verdict=_verdict(predicate), words=_STATUS, holds=_holds(),
        signed=_signed(predicate, key), evidence=_evidence,
    )  # fmt: skip
    begin, end = _MARKS[".html"]
    before, _, after = text.partition(begin + end)
    return Page(before + begin, end + after)


def _evidence(one: Evidence) -> str:
    at = f" ({one.at:%Y-%m-%d %H:%M} UTC)" if one.at is not None else ""
    digest = f" (SHA-256 {one.sha256})" if one.sha256 else ""
    entry = f", entry {one.entry} of the ledger{digest}" if one.entry is not None else ""
    return f"{one.kind}: {one.detail}{at}{entry}"


def _verdict(predicate: ReadinessPredicate) -> str:
    return "Every box is proven, or does not apply." if predicate.ready else f"Not ready: {_open(predicate.boxes)}."


def _open(boxes: tuple[BoxState, ...]) -> str:
    left = [f"{one.box} ({_STATUS[one.status]})" for one in boxes if one.status in ("missing", "configured")]
    return ", ".join(left)


def _when(predicate: ReadinessPredicate) -> str:
    return f"Looked at on {predicate.time:%Y-%m-%d %H:%M} UTC by nightcrew {predicate.nightcrew}"


def _holds() -> str:
    return (
        "It holds while these parts are as they were; SHA-256 of each. Any change makes it void, and"
        " `nightcrew ready TARGET --verify FILE` says which."
    )


def _signed(predicate: ReadinessPredicate, key: str) -> str:
    of = f" Entries are those of the ledger that begins with {predicate.repository}." if predicate.repository else ""
    return (
        f"Signed by nightcrew's own key {key} (Ed25519, an in-toto Statement in a DSSE envelope) over the parts above"
        f" and this text.{of} `nightcrew ready --public-key FILE` writes out the public key, with which"
        f" `nightcrew ready --verify FILE --key KEY` checks it anywhere."
    )


def _where(place: str) -> str:
    return f"{place}: " if place else ""


def _said(text: str) -> str:
    """Text of others in Markdown: on one line, and no markup."""
    return _SPECIAL.sub(r"\\\1", " ".join(plain_text(text, limit=5000).split()))


@cache
def _template() -> str:
    return resources.files("nightcrew.readiness").joinpath("report.html").read_text(encoding="utf-8")
