"""Reviewers and decisions as people use them in a terminal: SSH keys, passphrases, several people, questions."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

# Put together here, so that nobody's scanner takes this file for a leak.
KEYS = ["AKIA" + body for body in ("QJZ5XW7LPK3DVNTE", "QJZ5XW7LPK3DVNTF", "QJZ5XW7LPK3DVNTG")]


def ssh_key(home: Path, name: str) -> Path:
    (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
    path = home / ".ssh" / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me@here", "-f", path], check=True)
    return path


@pytest.fixture
def night(bare_project: Any) -> Any:
    """A project after its first night: leaked keys wait in the inbox."""
    bare_project.commit({f"conf{n}.py": f'"""Keys."""\n\nKEY{n} = "{key}"\n' for n, key in enumerate(KEYS)}, "Keys")
    assert bare_project("init", "--yes").status == 0
    done = bare_project("shift", "--json")
    assert done.status == 1, done.err
    return bare_project


def test_people_keys_and_decisions_in_a_terminal(night: Any) -> None:
    mine = ssh_key(night.home, "id_ed25519")
    waiting = [one["id"] for one in night("inbox", "--json").json()]
    assert len(waiting) >= 1
    first = waiting[0]

    # Nobody may decide yet, and an error says what to do.
    done = night("inbox", "approve", first)
    assert done.status == 4
    assert "nightcrew reviewer add NAME" in done.err

    # The first enrols their own SSH key; the comment in it is nobody's business.
    done = night("reviewer", "add", "ada", "--ssh", str(mine), "--json")
    assert done.status == 0, done.err
    assert done.json()["kind"] == "ssh"
    assert night("reviewer", "add", "eve", "--ssh", str(mine)).status == 3  # one key, one person
    assert night("reviewer", "add", "eve", "--ssh", str(mine), "--passphrase").status == 2

    # A question, then everything needed to decide, then the decision: found in ~/.ssh without being named.
    asked = night("inbox", "ask", first, "--comment", "Is it used?")
    assert asked.status == 0, asked.err
    assert "agent's desk" in asked.out
    shown = night("inbox", "show", first)
    for word in ("Is it used?", "detect-secrets", "Approvals: 0 of 1", "approve:", "reject:", "no brain is configured"):
        assert word in shown.out, (word, shown.out)
    assert KEYS[0] not in shown.out
    done = night("inbox", "approve", first, "--comment", "take it out")
    assert done.status == 0, done.err
    assert "is approved" in done.out
    assert night("inbox", "approve", first).status == 3, "once is enough"
    line = next(one for one in night("plan", "build", "--json").json()["tickets"] if one["approval"] == first)
    assert line["severity"] in ("high", "critical")

    # A second person, by the signature of the first; her key lies elsewhere and is named.
    hers = night.home / "hers"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", hers], check=True)
    assert night("reviewer", "add", "grace", "--ssh", str(hers), "--by", "grace").status in (2, 4)
    done = night("reviewer", "add", "grace", "--ssh", str(hers), "--by", "ada")
    assert done.status == 0, done.err
    (night.home / "word").write_text("a long pass phrase")
    (night.home / "word").chmod(0o600)
    night.more["NIGHTCREW_PASSPHRASE_FILE"] = str(night.home / "word")
    done = night("reviewer", "add", "linus", "--passphrase", "--by", "grace", "--by-key", str(hers))
    assert done.status == 0, done.err
    assert [one["name"] for one in night("reviewer", "list", "--json").json()] == ["ada", "grace", "linus"]

    done = night("audit", "attestations", line["ticket"], "--output", str(night.home / "out"))
    assert done.status == 0, done.err
    assert list((night.home / "out").glob("*.approve.dsse.json"))
    assert list((night.home / "out" / "keys").glob("ada.*.pub"))

    # Revoked: what she did not use is void, and so is she.
    assert night("reviewer", "revoke", "ada", "--by", "linus").status == 0
    plan = night("plan", "build", "--json").json()
    assert first not in [one["approval"] for one in plan["tickets"]]
    assert any("revoked" in left["reason"] for left in plan["left_out"])
    done = night("inbox", "approve", first, "--reviewer", "ada")
    assert done.status != 0

    done = night("inbox", "stats", "--json")
    assert done.status == 0, done.err
    assert done.json()["n"] == 1
    assert "too few" in night("inbox", "stats").out.lower()
    assert night("audit", "verify").status == 0


def test_keys_that_are_none_are_told_apart(night: Any) -> None:
    for words, text in (
        (["--ssh", str(night.home / "missing")], "missing"),
        (["--ssh", str(night.folder / "pyproject.toml")], "pyproject.toml"),
    ):
        done = night("reviewer", "add", "ada", *words, "--json")
        assert done.status in (2, 4), done.err
        assert text in done.error()["message"]
        assert done.error()["hint"]
    small = night.home / "small"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", small], check=True)
    assert "2048" in night("reviewer", "add", "ada", "--ssh", str(small)).err
    assert "browser" in night("reviewer", "add", "ada", "--passkey").out
    assert night("reviewer", "admit", "ada").status == 2
