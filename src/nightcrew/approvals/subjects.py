"""Comparing what was signed with what lies here now."""

from collections.abc import Iterable

from nightcrew.model.statement import DigestSet, Subject


def differences(signed: Iterable[Subject], actual: Iterable[Subject]) -> tuple[str, ...]:
    """What differs, one phrase a subject, sorted by name; empty if both name exactly the same."""
    then = {subject.name: subject.digest for subject in signed}
    now = {subject.name: subject.digest for subject in actual}
    return tuple(
        _difference(name, then.get(name), now.get(name))
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    )


def _difference(name: str, then: DigestSet | None, now: DigestSet | None) -> str:
    if then is None:
        return f"{name} was not signed"
    if now is None:
        return f"{name} was signed and is not here"
    return f"{name} was {_short(then)} and is {_short(now)}"


def _short(digest: DigestSet) -> str:
    return (digest.gitCommit or digest.sha256 or "")[:12]
