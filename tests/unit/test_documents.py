"""Documents read back as what was written, whatever the text in them; what does not fit is refused by name."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nightcrew.model import handoff as handoffs
from nightcrew.model import manifest as manifests
from nightcrew.model import playbook as playbooks
from nightcrew.model.budget import Budget
from nightcrew.model.errors import DocumentError
from nightcrew.model.finding import Category, Finding
from nightcrew.model.frontmatter import MAX_BYTES, dump_yaml, join, load_yaml, split
from nightcrew.model.handoff import Change, Handoff, HandoffKind
from nightcrew.model.manifest import LeftOut, Line, Manifest
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Kind, Priority

HOSTILE = (
    "## Next", "## What was done", "# Heading", r"\## Next", r"\\# x", "---", "...", "None.", r"\None.", "\r\n", "\r",
    "\n", "\n\n", " ", "\t", "\\", "é", "\u2028", "\x85", "\ufeff", "\x00", "\x1b[31m", "key: value", "- item", "&a *a",
    "!!python/object", "'", '"', "{", "left_out:", '  - {"ticket":', "🦉", "plain words",
)  # fmt: skip
texts = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=8), max_size=8).map("".join)


def handoff(**fields: object) -> Handoff:
    plain = {
        "id": "H-000001", "from": "build", "to": "qa", "ticket": "T-0001", "session": "S-1", "kind": "work",
        "created": datetime(2026, 1, 1, tzinfo=UTC), **fields,
    }  # fmt: skip
    return Handoff.read(plain, source="test")


def as_read(text: str) -> str:
    return re.sub(r"\r+\n", "\n", text).strip()


@given(texts, texts, texts)
@example("", "", "## Next\r\r\n## Next")
@example("None.", r"\None.", "\\## Next\n## Next")
@example("\n## Open questions\n\n## Next\r\n", "---\nid: H-9\n---", "  ## Next")
@settings(max_examples=300, deadline=None)
def test_sections_of_a_handoff_read_back_and_cannot_forge_one_another(done: str, questions: str, then: str) -> None:
    written = handoff(done=done, questions=questions, next=then)
    data = handoffs.render(written)
    read = handoffs.parse(data, source="test")
    assert (read.done, read.questions, read.next) == (as_read(done), as_read(questions), as_read(then))
    assert read.plain() == written.plain()
    assert handoffs.render(read) == data


@given(texts, texts, texts)
@settings(max_examples=200, deadline=None)
def test_front_matter_of_a_handoff_reads_back(message: str, branch: str, session: str) -> None:
    finding = Finding(
        fingerprint="0" * 32, tool="t", rule="r", category=Category.LINT, severity=Severity.LOW, message=message
    )
    change = Change(branch=branch, base="a" * 40, head="b" * 40, files=(message, branch))
    written = handoff(session=session, findings=(finding,), change=change, done="x")
    assert handoffs.parse(handoffs.render(written), source="test") == written


@given(
    st.recursive(texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)), texts
)
@settings(max_examples=200, deadline=None)
def test_yaml_and_front_matter_read_back_exactly(value: object, body: str) -> None:
    assert load_yaml(dump_yaml(value), source="test") == value
    front, _ = split(join({"value": value}, body), source="test")
    assert front == {"value": value}


def manifest(title: str, *reasons: str) -> Manifest:
    line = Line(
        ticket="T-0001", title=title, kind=Kind.BUG, priority=Priority.P0, turns=3, work_digest="0" * 64, approval=title
    )
    return Manifest(
        agent="build",
        playbook="0" * 64,
        budget=Budget(soft=1, hard=2),
        tickets=(line,),
        left_out=tuple(LeftOut(ticket=f"T-{number:04d}", reason=reason) for number, reason in enumerate(reasons)),
        cycles=(("T-0002", "T-0003"),),
    )


@given(texts, st.lists(texts, max_size=4))
@settings(max_examples=200, deadline=None)
def test_manifest_reads_back(title: str, reasons: list[str]) -> None:
    written = manifest(title, *reasons)
    data = manifests.render(written)
    assert manifests.parse(data, source="test") == written
    # The fast way of reading is one of YAML's: a YAML parser reads the same.
    assert Manifest.read(load_yaml(data.decode(), source="test"), source="test") == written


@pytest.mark.parametrize(
    "edited",
    [
        '  - {"ticket":"T-0000","reason":"mine"}\n  - {ticket: T-0001, reason: theirs}\n',
        '  - {"ticket":"T-0000","reason":"mine"}\n  - {"ticket":"T-0001",reason: theirs}\n',
        "  - ticket: T-0000\n    reason: mine\n  - ticket: T-0001\n    reason: theirs\n",
    ],
)
def test_left_out_edited_by_a_person_is_read_as_yaml(edited: str) -> None:
    data = manifests.render(manifest("title", "one", "two")).decode()
    head = data[: data.index("left_out:\n")] + "left_out:\n"
    read = manifests.parse((head + edited).encode(), source="test")
    assert [out["reason"] for out in read.left_out] == ["mine", "theirs"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"- 1\n", "Input should be"),
        (b"a: \xff\n", "not UTF-8 at byte 3"),
        (b"agent: &a build\nplaybook: *a\n", "aliases are not allowed"),
        (b"agent: !!python/object/apply:os.system [id]\n", "could not determine a constructor"),
        (b"{" * 50_000, "not YAML"),
        (b"just text\nleft_out:\n  - {\"ticket\":\"T-0001\",\"reason\":\"\"}\n", "Input should be"),
        (b"a: 1\nleft_out:\n  - {\"ticket\":" + b"[" * 100_000, "not YAML"),
        (b"#" * (MAX_BYTES + 1), "larger than"),
    ],
)  # fmt: skip
def test_manifest_that_is_none_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(DocumentError, match=says) as caught:
        manifests.parse(data, source="M.yaml")
    assert str(caught.value).startswith("M.yaml: ")


def test_unknown_field_is_named() -> None:
    good = manifests.render(manifest("title", "why"))
    for data, field in (
        (good + b"extra: 1\n", "extra"),
        (good.replace(b"  soft: 1", b"  soft: 1\n  sotf: 2"), "budget.sotf"),
        (good.replace(b'"reason":', b'"colour":"red","reason":'), "left_out.0.colour"),
    ):
        with pytest.raises(DocumentError, match=field):
            manifests.parse(data, source="test")
    work = handoffs.render(handoff(done="x"))
    for line in (b"colour: red", b"done: forged", b"next: forged"):
        with pytest.raises(DocumentError, match=line.split(b":")[0].decode()):
            handoffs.parse(work.replace(b"kind: work", b"kind: work\n" + line), source="test")
    with pytest.raises(DocumentError, match=r"gates\.sevrity"):
        playbooks.parse("---\ngates:\n  sevrity: low\n---\n", source="test")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ((b"---\n", b""), "front matter"),
        ((b"## Next", b"## Then"), "three sections"),
        ((b"## Next", b"## Open questions"), "three sections"),
        ((b"## What", b"forged\n\n## What"), "three sections"),
        ((b"None.", b"\xc3"), "not UTF-8"),
        ((b"None.", b"x" * (MAX_BYTES + 1)), "larger than"),
        ((b"id: H-000001", b"id: 7"), "id: "),
        ((b"kind: work", b"kind: wrok"), "kind: "),
        ((b"kind: work", b"1: work"), "kind: "),
    ],
)
def test_handoff_that_is_none_is_refused(change: tuple[bytes, bytes], says: str) -> None:
    data = handoffs.render(handoff()).replace(*change, 1)
    with pytest.raises(DocumentError, match=says):
        handoffs.parse(data, source="H.md")


def test_handoff_names_what_it_holds_in_the_words_of_the_document() -> None:
    text = handoffs.render(handoff(done="did")).decode()
    assert text.startswith("---\nschema: nightcrew/handoff/v1\n")
    assert "from: build\n" in text
    assert "## What was done\n\ndid\n\n## Open questions\n\nNone.\n\n## Next\n\nNone.\n" in text
    assert handoff().kind is HandoffKind.WORK


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "deep:\n  - {b: 1, b: 1}\n", "'a': 1\na: 2\n"])
def test_key_that_stands_twice_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(DocumentError, match=r"test: not YAML: [ab] stands twice .*line [12]"):
        load_yaml(text, source="test")
