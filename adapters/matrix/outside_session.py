"""The file that holds an OAuth 2.0 login: private, replaced as a whole, changed by one process at a time.

The command that logs in writes it, and so does the gateway whenever the tokens in it were exchanged for new ones. Both
do so under a lock beside it, so that neither overwrites what the other has just been given.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import stat
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from adapters.matrix.outside_oauth_answers import OAuthFailed, safe_url

VERSION: Final = 1
MAX_FILE: Final = 64 << 10
LOCK_WITHIN_S: Final = 90.0
_LOCK_EVERY_S: Final = 0.05

EXPOSED, UNREADABLE, DAMAGED, UNWRITABLE, BUSY = "exposed", "unreadable", "damaged", "unwritable", "busy"


class BadSession(Exception):
    """The file cannot be used; `code` says why. Never holds anything of it."""

    def __init__(self, code: str) -> None:
        super().__init__("the session file cannot be used")
        self.code = code


@dataclass(frozen=True, slots=True)
class Session:
    """One login. `grant` is a number of our own for it; `expires_s` is in seconds since 1970, None when unknown."""

    grant: str
    user: str
    homeserver: str
    device_id: str
    issuer: str
    client_id: str
    token_endpoint: str
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False, default=None)
    expires_s: int | None = None


def read_session(path: Path) -> Session | None:
    """The login, None when there is no file. Raises BadSession."""
    code = UNREADABLE
    try:
        octets = _octets(path)
        return None if octets is None else _session(json.loads(octets))
    except OSError:
        pass
    except BadSession as error:
        code = error.code
    except (ValueError, RecursionError, TypeError, KeyError, OAuthFailed):
        code = DAMAGED
    raise BadSession(code)


def write_session(path: Path, session: Session) -> None:
    """Replace the file; durable on return. Raises BadSession, and then the file is what it was before."""
    octets = json.dumps({"version": VERSION, **asdict(session)}, indent=1).encode() + b"\n"
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        _written(beside, octets, _owner(path))
        beside.replace(path)
        _synced(path.parent)
    except OSError:
        pass
    else:
        return
    with contextlib.suppress(OSError):
        beside.unlink()
    raise BadSession(UNWRITABLE)


def make_folder(path: Path) -> None:
    """Make the folder that the file is to be in, for its owner only. Raises BadSession."""
    made = True
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        made = False
    if not made:
        raise BadSession(UNWRITABLE)


@contextlib.asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Keep all others from changing the file meanwhile. Raises BadSession when somebody else keeps us from it."""
    descriptor = _lock_file(path)
    try:
        async with asyncio.timeout(LOCK_WITHIN_S):
            while not _is_ours(descriptor):  # noqa: ASYNC110 - the kernel tells nobody that a lock is free
                await asyncio.sleep(_LOCK_EVERY_S)
    except TimeoutError:
        os.close(descriptor)
        descriptor = -1
    except BaseException:
        os.close(descriptor)
        raise
    if descriptor == -1:
        raise BadSession(BUSY)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock_file(path: Path) -> int:
    name = path.with_name(f".{path.name}.lock")
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        descriptor = -1
    if descriptor == -1:
        raise BadSession(UNWRITABLE)
    _given(descriptor, _owner(path))
    return descriptor


def _is_ours(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _octets(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE:
            raise BadSession(DAMAGED)
        if status.st_mode & 0o077:
            raise BadSession(EXPOSED)
        return os.read(descriptor, MAX_FILE)
    finally:
        os.close(descriptor)


def _session(found: Any) -> Session:
    known = {entry.name for entry in fields(Session)}
    if not isinstance(found, dict) or found.pop("version") != VERSION or found.keys() - known:
        raise ValueError
    session = Session(**found)
    texts = {name: value for name, value in asdict(session).items() if name not in ("refresh_token", "expires_s")}
    if not all(isinstance(value, str) and value and value.isprintable() for value in texts.values()):
        raise ValueError
    if not isinstance(session.refresh_token, str | None) or not isinstance(session.expires_s, int | None):
        raise TypeError
    safe_url(session.issuer)
    safe_url(session.token_endpoint)
    return session


def _written(beside: Path, octets: bytes, owner: tuple[int, int] | None) -> None:
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _given(descriptor, owner)
        view = memoryview(octets)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _owner(path: Path) -> tuple[int, int] | None:
    """Whose the file is to be when root writes it: the gateway may run as another user."""
    if os.geteuid() != 0:
        return None
    for place in (path, path.parent):
        with contextlib.suppress(OSError):
            status = place.stat()
            return status.st_uid, status.st_gid
    return None


def _given(descriptor: int, owner: tuple[int, int] | None) -> None:
    if owner is not None:
        with contextlib.suppress(OSError):  # as root without the right to: then it stays root's
            os.fchown(descriptor, *owner)


def _synced(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
