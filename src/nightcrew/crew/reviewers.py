"""Who may decide: enrolling and revoking reviewers by signatures that lead back to the first; opening their keys."""

from collections.abc import Callable, Sequence
from pathlib import Path

from nightcrew.approvals import Pending, Reviewer, Signer, create_key, fresh_nonce, open_key
from nightcrew.crew import rules
from nightcrew.crew.project import Project
from nightcrew.model.canonical import sha256_hex
from nightcrew.model.errors import ConfigurationError, NotFoundError, UsageError
from nightcrew.model.statement import EnrolmentStatement, SignerKind
from nightcrew.store import ledger

Ask = Callable[[str], str]
"""Asks a person for a passphrase; the text says whose."""


def list_reviewers(project: Project) -> tuple[Reviewer, ...]:
    """Every key ever enrolled for this repository; the chain of signatures is verified."""
    return project.anchor.reviewers(project.repository_id)


def name_of(project: Project, given: str | None) -> str:
    """The reviewer who is meant; raises ConfigurationError if nobody is enrolled, UsageError if it is not clear who."""
    if given is not None:
        return given
    active = rules.people(project)
    if not active:
        raise ConfigurationError("nobody is enrolled as a reviewer yet", hint="Run: nightcrew reviewer add NAME")
    if len(active) > 1:
        raise UsageError(f"say who it is, with --reviewer or --by: {', '.join(active)}")
    return active[0]


def add(
    project: Project,
    name: str,
    *,
    passphrase: Ask,
    by: str | None = None,
    ssh: Path | None = None,
    by_key: Path | None = None,
) -> Reviewer:
    """Enrol a key of a reviewer: an SSH key, or a new one sealed by a passphrase.

    The first reviewer is enrolled by his own signature; another by that of an enrolled one, ``by``; a further key of
    the same reviewer by one of his own. ``by_key`` is the SSH key to sign that with. Raises UsageError, ApprovalError.
    """
    repository, anchor = project.repository_id, project.anchor
    first = not anchor.begun(repository)
    if first and by is not None:
        raise UsageError("the first reviewer is enrolled by his own signature: leave --by away")
    # Who signs is asked first: a new passphrase is not worth typing twice if that fails.
    signs = None if first else opened(project, by or _self_or_only(project, name), passphrase=passphrase, key=by_key)
    own = _new_key(project, name, passphrase, ssh)
    if signs is None:
        enrolled = anchor.enrol_first(repository, name, own, nonce=fresh_nonce(), clock=project.clock)
    else:
        return _enrolled(project, name, own.kind, own.public_key, signs)
    record(project, "reviewer.add", name, enrolled.enrolled_by[0])
    return enrolled


def add_github(
    project: Project,
    name: str,
    login: str,
    *,
    repository: str,
    token_env: str,
    api: str,
    passphrase: Ask,
    by: str | None = None,
    by_key: Path | None = None,
    signer: Signer | None = None,
) -> Reviewer:
    """Let the pull-request reviews of a GitHub login count as approvals by ``name``; signed by an enrolled reviewer.

    ``signer`` is one that is open already. Raises UsageError for values that do not fit, ApprovalError.
    """
    from nightcrew.approvals.github import GithubKey

    if not repository:
        raise UsageError("say which repository on GitHub, with --repository OWNER/NAME")
    blob = GithubKey.read(
        {"api": api, "repository": repository, "login": login, "token_env": token_env}, source="--github"
    ).encode()
    signs = signer or opened(project, by or _self_or_only(project, name), passphrase=passphrase, key=by_key)
    return _enrolled(project, name, SignerKind.GITHUB, blob, signs)


def waiting(project: Project) -> tuple[Pending, ...]:
    """Keys that were registered in the browser and wait for an enrolled reviewer's signature."""
    return project.anchor.pending(project.repository_id)


def to_admit(project: Project, name: str, key_id: str | None = None) -> Pending:
    """The one key under ``name`` that waits for a signature; of several the one whose id begins with ``key_id``.

    Anybody who reaches the page can register a key under any name, so who signs says which one he means. Raises
    NotFoundError if none waits, UsageError if it is not clear which.
    """
    waits = [one for one in waiting(project) if one.name == name]
    named = [one for one in waits if one.key_id.startswith(key_id or "")]
    if not named:
        raise NotFoundError(
            f"no key of {name} waits for a signature"
            if key_id is None or not waits
            else f"no key of {name} that begins with {key_id} waits for a signature: {_listed(waits)}",
            hint="Register one in the browser: nightcrew serve",
        )
    if len(named) > 1:
        raise UsageError(
            f"{len(named)} keys wait under the name {name}: {_listed(named)}",
            hint="Ask which one it is, then name it by the first digits of its id, with --key.",
        )
    return named[0]


def admit(
    project: Project,
    name: str,
    *,
    passphrase: Ask,
    by: str | None = None,
    by_key: Path | None = None,
    key_id: str | None = None,
) -> Reviewer:
    """Sign the enrolment of a key that waits for it (a passkey registered in the browser); raises as ``to_admit``."""
    one = to_admit(project, name, key_id)
    signs = opened(project, by or _self_or_only(project, name), passphrase=passphrase, key=by_key)
    enrolled = _enrolled(project, name, one.kind, one.key(), signs)
    project.anchor.drop_pending(project.repository_id, enrolled.key_id)
    return enrolled


def revoke(
    project: Project,
    name: str,
    *,
    by: str | None,
    passphrase: Ask,
    key_id: str | None = None,
    by_key: Path | None = None,
) -> None:
    """Revoke all keys of a reviewer, or the one whose id begins with ``key_id``.

    What they signed and was not used is void. Raises NotFoundError, ApprovalError.
    """
    keys = project.anchor.keys(project.repository_id, name)
    if key_id is not None:
        named = [one for one in keys if one.key_id.startswith(key_id)]
        if len(named) != 1:
            raise NotFoundError(
                f"{name} has {len(named)} keys that begin with {key_id}", hint="nightcrew reviewer list"
            )
        key_id = named[0].key_id
    signs = opened(project, name_of(project, by), passphrase=passphrase, key=by_key)
    project.anchor.revoke(
        project.repository_id, name, by=signs, nonce=fresh_nonce(), clock=project.clock, key_id=key_id
    )
    record(project, "reviewer.revoke", name, name_of(project, by) if by else name)


def opened(project: Project, name: str, *, passphrase: Ask, key: Path | None = None) -> Signer:
    """A signer of the reviewer on this machine, opened: the SSH key ``key``, else a passphrase's, else one in ~/.ssh.

    Raises NotFoundError for a name nobody has, ConfigurationError if none of his keys can sign in a terminal here.
    """
    return pick(project, project.anchor.keys(project.repository_id, name), passphrase=passphrase, key=key)


def pick(project: Project, keys: Sequence[Reviewer], *, passphrase: Ask, key: Path | None = None) -> Signer:
    """As ``opened``, from the keys of one reviewer."""
    from nightcrew.approvals.ssh import SshSigner

    if key is not None:
        signer = SshSigner(key)
        if signer.key_id not in {one.key_id for one in keys}:
            raise UsageError(f"{key} is not an enrolled key of {keys[0].name}", hint="nightcrew reviewer list")
        return signer
    for one in keys:
        if one.kind is SignerKind.PASSPHRASE:
            try:
                sealed = project.anchor.sealed_key(one.key_id)
            except NotFoundError:
                continue
            return open_key(sealed, passphrase(f"Passphrase of {one.name}: "))
    if found := _ssh_key_here({one.key_id for one in keys if one.kind is SignerKind.SSH}):
        return SshSigner(found)
    kinds = ", ".join(sorted({one.kind.value for one in keys}))
    raise ConfigurationError(
        f"{keys[0].name} has no key that can sign in this terminal (enrolled: {kinds})",
        hint="A passkey signs in the browser: nightcrew serve. An SSH key elsewhere than ~/.ssh is named with --key.",
    )


def append_signed(project: Project, statement: EnrolmentStatement, signer: Signer) -> Reviewer:
    """Put an enrolment that was signed in the browser into the chain; raises ApprovalError."""
    enrolled = project.anchor.append(project.repository_id, statement, signer)
    project.anchor.drop_pending(project.repository_id, enrolled.key_id)
    record(project, "reviewer.add", enrolled.name, enrolled.enrolled_by[0])
    return enrolled


def record(project: Project, action: str, name: str, by: str) -> None:
    """Say in the ledger that the chain of reviewers changed."""
    chain = project.anchor.statements(project.repository_id)
    data = {"name": name, "chain": [sha256_hex(entry) for entry in chain]}
    with project.store.begin() as tx:
        ledger.append(tx, actor=f"reviewer:{by}", action=action, subject=f"reviewer:{name}", data=data)
    project.pin_ledger()


def _enrolled(project: Project, name: str, kind: SignerKind, public_key: bytes, by: Signer) -> Reviewer:
    enrolled = project.anchor.enrol(
        project.repository_id,
        name,
        kind=kind,
        public_key=public_key,
        by=by,
        nonce=fresh_nonce(),
        clock=project.clock,
    )
    record(project, "reviewer.add", name, enrolled.enrolled_by[0])
    return enrolled


def _listed(keys: Sequence[Pending]) -> str:
    return ", ".join(f"{one.kind} {one.key_id[:16]} of {one.created:%Y-%m-%d %H:%M} UTC" for one in keys)


def _new_key(project: Project, name: str, passphrase: Ask, ssh: Path | None) -> Signer:
    from nightcrew.approvals.ssh import SshSigner

    if ssh is not None:
        return SshSigner(ssh)
    sealed, signer = create_key(passphrase(f"New passphrase for {name}: "), clock=project.clock)
    project.anchor.keep_key(sealed)
    return signer


def _self_or_only(project: Project, name: str) -> str:
    """Who signs the enrolment of ``name`` if nobody was named: the reviewer of that name, else the only one."""
    active = rules.people(project)
    return name if name in active else name_of(project, None)


def _ssh_key_here(wanted: set[str]) -> Path | None:
    from nightcrew.approvals.signer import key_id_of
    from nightcrew.approvals.ssh import read_public_key

    if not wanted:
        return None
    for path in sorted((Path.home() / ".ssh").glob("*.pub")):
        try:
            if key_id_of(read_public_key(path)) in wanted:
                return path.with_suffix("") if path.with_suffix("").exists() else path
        except (UsageError, OSError):
            continue
    return None
