"""The SSH signer: a reviewer signs with a key he has already, in a file, in ssh-agent or on a security key.

OpenSSH does the cryptography (``ssh-keygen -Y sign`` and ``-Y verify``, OpenSSH 8.0 or later, 8.2 for security keys);
what the signature claims is read here too, see ``sshsig``. Everything that ssh-keygen verifies with goes to it through
pipes: there is no file that another process could exchange.

A key in ssh-agent signs for whoever reaches the agent's socket, unless it was added with ``ssh-add -c`` or lies on a
security key: no sandbox may let that socket in.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nightcrew.approvals.signer import key_id_of
from nightcrew.approvals.sshsig import (
    MAX_BYTES,
    NAMESPACE,
    MalformedError,
    fits,
    parse_public_key,
    parse_signature,
    public_half,
)
from nightcrew.model.errors import ApprovalError, ConfigurationError, UsageError
from nightcrew.model.statement import SignerKind

_PROGRAM = "ssh-keygen"
_SYSTEM_PATH = os.defpath
_REFUSED = 255
"""The exit status of OpenSSH's programs for all that they refuse; 1 is a command line that they do not know."""

_VERIFY_SECONDS = 30


class SshSigner:
    """Signs with ``key``: a private key file, or the ``.pub`` file of a key that ssh-agent or a security key holds.

    Raises UsageError as ``read_public_key``.
    """

    def __init__(self, key: Path) -> None:
        self._key = key.expanduser().absolute()
        self._public_key = read_public_key(self._key)

    @property
    def kind(self) -> SignerKind:
        """Always ssh."""
        return SignerKind.SSH

    @property
    def key_id(self) -> str:
        """SHA-256 of the public key."""
        return key_id_of(self._public_key)

    @property
    def public_key(self) -> bytes:
        """``type base64``, without a comment."""
        return self._public_key

    def sign(self, pae: bytes) -> bytes:
        """An armored SSHSIG signature. ssh-keygen asks for a passphrase, a PIN or a touch on the terminal itself.

        Raises ApprovalError if nothing was signed, ConfigurationError if ssh-keygen is missing.
        """
        command = [_find(first="user"), "-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(self._key)]
        # Only standard output is ours: what ssh-keygen has to say goes to the person, who types the answer there.
        done = subprocess.run(command, input=pae, stdout=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise ApprovalError(
                f"ssh-keygen did not sign with {self._key} (exit status {done.returncode})",
                hint="Its own message is above. Is the key in ssh-agent (ssh-add -l), or the security key plugged in?",
            )
        try:
            signature = parse_signature(done.stdout)
        except MalformedError as error:
            raise ApprovalError(f"ssh-keygen gave something that is no signature: {error}") from None
        if not fits(parse_public_key(self._public_key), signature):
            raise ApprovalError(
                f"{self._key} does not belong to its public key, or was not touched",
                hint="Make the public key anew with: ssh-keygen -y -f KEY > KEY.pub",
            )
        return signature.armor()


def read_public_key(path: Path) -> bytes:
    """The public key of a ``.pub`` file or of a private key file (its ``.pub`` beside it, or the half it carries).

    Gives ``type base64``. Raises UsageError for a file that cannot be read, holds no key or more than one, and for a
    key of a type or a length that is not accepted.
    """
    data = _read(path)
    if b"PRIVATE KEY-----" in data:
        beside = path.with_name(path.name + ".pub")
        return read_public_key(beside) if beside.is_file() else _public_half(path, data)
    lines = [line for line in data.splitlines() if line.strip() and not line.startswith(b"#")]
    if len(lines) != 1:
        raise UsageError(
            f"{path} holds {len(lines)} keys, not one", hint="Give the .pub file that ssh-keygen wrote beside the key."
        )
    try:
        return parse_public_key(b" ".join(lines[0].split(None, 2)[:2])).encode()
    except MalformedError as error:
        raise UsageError(
            f"{path} holds no SSH public key that can sign here: {error}",
            hint="Make one with: ssh-keygen -t ed25519-sk (with a security key), or ssh-keygen -t ed25519",
        ) from None


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is one by ``public_key`` over ``message``, for nightcrew, touched if the key can be.

    False, too, for a key or a signature that is malformed. Raises ConfigurationError if ssh-keygen is missing, or too
    old to verify: that a signature cannot be checked is no verdict on it.
    """
    try:
        claimed = parse_signature(signature)
        if not fits(parse_public_key(public_key), claimed) or claimed.armor() != signature:
            return False
    except MalformedError:
        return False
    # One line, whose only part from outside has the alphabet of base64: see parse_public_key.
    allowed = b'%b namespaces="%b" %b\n' % (NAMESPACE.encode(), NAMESPACE.encode(), public_key)
    with _piped(allowed) as signers, _piped(signature) as signed:
        command = [_find(first="system"), "-Y", "verify", "-n", NAMESPACE, "-I", NAMESPACE]
        command += ["-f", f"/dev/fd/{signers}", "-s", f"/dev/fd/{signed}"]
        try:
            done = subprocess.run(
                command,
                input=message,
                capture_output=True,
                pass_fds=(signers, signed),
                timeout=_VERIFY_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ConfigurationError(f"ssh-keygen did not answer within {_VERIFY_SECONDS} seconds") from None
    if done.returncode not in (0, _REFUSED):
        said = done.stderr.decode(errors="replace").partition("\n")[0][:200]
        raise ConfigurationError(
            f"ssh-keygen cannot verify signatures here (exit status {done.returncode}): {said}",
            hint="Install OpenSSH 8.2 or later.",
        )
    return done.returncode == 0


def counter_of(signature: bytes) -> int:
    """How many signatures the security key says it has made, 0 for other keys; raises ApprovalError."""
    try:
        return parse_signature(signature).counter
    except MalformedError as error:
        raise ApprovalError(f"it is no SSH signature: {error}") from None


def _find(*, first: str) -> str:
    """The program. The system's own verifies, whatever else is on the path; the user's own choice signs.

    Places on the path that are not absolute are left out: in a repository, an agent could have written one.
    """
    chosen = os.pathsep.join(
        place for place in os.environ.get("PATH", "").split(os.pathsep) if Path(place).is_absolute()
    )
    places = (chosen, _SYSTEM_PATH) if first == "user" else (_SYSTEM_PATH, chosen)
    for place in places:
        if place and (program := shutil.which(_PROGRAM, path=place)):
            return program
    raise ConfigurationError(
        "ssh-keygen is not installed, so no SSH signature can be made or verified",
        hint="Install OpenSSH's client (Debian: apt install openssh-client).",
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(8 * MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"the SSH key {path} cannot be read: {error.strerror}", hint="Give the key's file.") from None
    if len(data) > 8 * MAX_BYTES:
        raise UsageError(f"{path} is too long for an SSH key", hint="Give the key's file.")
    return data


def _public_half(path: Path, data: bytes) -> bytes:
    hint = f"Write its public key beside it with: ssh-keygen -y -f '{path}' > '{path}.pub'"
    try:
        key = public_half(data)
    except MalformedError as error:
        raise UsageError(f"the private key {path} cannot be used: {error}", hint=hint) from None
    if key is None:
        raise UsageError(f"the private key {path} does not carry its public key", hint=hint)
    return key.encode()


@contextmanager
def _piped(data: bytes) -> Iterator[int]:
    """A descriptor to read ``data`` from; it is short enough to lie in the pipe before anybody reads."""
    reader, writer = os.pipe()
    try:
        with open(writer, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(data)
        yield reader
    finally:
        os.close(reader)
