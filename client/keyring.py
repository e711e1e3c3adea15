"""The account's own signing keys, and the keys that its contacts showed: one file, for its owner only."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import msgspec

from client.store import StoreUnusable
from crypto.esession.associations import Known
from crypto.esession.identities import Identity, PublicIdentity, new_ed25519, new_rsa

RSA_BITS = 2048
"""Of the key for contacts that know the XEP's algorithm only."""
MAX_OCTETS = 1 << 20


@dataclass(slots=True)
class Keyring:
    """What the file holds."""

    identities: tuple[Identity, ...] = field(repr=False)
    """Our own, the one that we like best first."""
    known: Known = field(default_factory=Known)

    def keys_of(self, jid: str) -> tuple[PublicIdentity, ...]:
        """The keys that are a contact's."""
        return tuple(known.public for known in self.known.keys if jid in known.jids)


def new_keyring(draw: Callable[[str, int], bytes]) -> Keyring:
    """New keys of our own, and nothing known of others."""
    return Keyring((new_ed25519(draw("identity", 32)), new_rsa(RSA_BITS)))


@contextlib.contextmanager
def opened(path: Path, draw: Callable[[str, int], bytes], *, patience_s: float = 0.0) -> Iterator[Keyring]:
    """The keyring of a file, made when there is none; what changed in it is written at the end.

    Only one process has it at a time; others wait `patience_s` for it. Raises StoreUnusable when the file is none of
    ours, in use, or open to others.
    """
    lock = _locked(path, monotonic() + patience_s)
    try:
        found = _read(path)
        keyring = new_keyring(draw) if found is None else found
        if found is None:
            _write(path, keyring)
        before = msgspec.msgpack.encode(keyring)
        yield keyring
        if msgspec.msgpack.encode(keyring) != before:
            _write(path, keyring)
    finally:
        os.close(lock)


def _locked(path: Path, until_s: float) -> int:
    """A descriptor that is the lock. The keyring itself is replaced when it is written, so it cannot be."""
    trouble = ""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        trouble = f"{path} cannot be opened: {error.strerror}"
    else:
        if _has_lock(descriptor, until_s):
            return descriptor
        os.close(descriptor)
        trouble = f"{path} is in use"
    raise StoreUnusable(trouble)


def _has_lock(descriptor: int, until_s: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if monotonic() >= until_s:
                return False
        sleep(0.1)


def _read(path: Path) -> Keyring | None:
    """What is in the file; None when there is none."""
    trouble = ""
    try:
        with open(path, "rb") as opened_file:
            if os.fstat(opened_file.fileno()).st_mode & 0o077:
                trouble = f"{path} can be read by others; chmod 600 it"
            else:
                return msgspec.msgpack.decode(opened_file.read(MAX_OCTETS), type=Keyring)
    except FileNotFoundError:
        return None
    except OSError as error:
        trouble = f"{path} cannot be opened: {error.strerror}"
    except (msgspec.MsgspecError, ValueError):
        trouble = f"{path} is not a keyring"
    raise StoreUnusable(trouble)


def _write(path: Path, keyring: Keyring) -> None:
    """Replace the file, so that it is the old one or the new one whatever happens."""
    draft = Path(f"{path}.new")
    trouble = ""
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(msgspec.msgpack.encode(keyring))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError as error:
        trouble = f"{path} cannot be written: {error.strerror}"
    if trouble:
        raise StoreUnusable(trouble)
