"""Ciphertext of files on their way, in a private folder beside the ledger: bounded, and gone when it was used.

Nothing of it has to outlive the process: a transfer whose spool is gone begins anew. So nothing is synchronised to the
disk either.
"""

import contextlib
import os
import time
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from bridge.wire.files import BEGIN_AGAIN

MOST_OCTETS = 2 << 30
"""Of all files in one spool."""
IDLE_S = 900.0
"""A file that nobody asked for so long may give way to others."""
OK, FULL = "ok", "spool-full"


@dataclass(slots=True)
class _Kept:
    size: int
    used: float


def spool_name(*parts: str) -> str:
    """A name for a file, from whatever tells it from others."""
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


class Spool:
    """One folder of files that only grow at their end. Files of an earlier process are removed."""

    def __init__(self, folder: Path, *, most: int = MOST_OCTETS) -> None:
        """Raises OSError when the folder cannot be made."""
        self._folder, self._most = folder, most
        self._kept: dict[str, _Kept] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.iterdir():
            if left.is_file() and not left.is_symlink():
                left.unlink()

    @property
    def octets(self) -> int:
        """Of all files."""
        return sum(kept.size for kept in self._kept.values())

    def path(self, name: str) -> Path:
        """Where the file is."""
        return self._folder / name

    def size(self, name: str) -> int | None:
        """Octets of the file, None when there is none."""
        kept = self._kept.get(name)
        return None if kept is None else kept.size

    def store(self, name: str, offset: int, octets: bytes) -> str:
        """Put octets at the end of a file; what it holds already is not written again.

        `begin-again`: octets before these are missing. `spool-full`: there is no room now.
        """
        kept = self._kept.get(name)
        size = 0 if kept is None else kept.size
        if offset + len(octets) <= size and kept is not None:
            kept.used = time.monotonic()
            return OK
        if offset != size:
            return BEGIN_AGAIN
        if not self._room(len(octets), name) or not self._append(name, octets, size):
            return FULL
        self._kept[name] = _Kept(size + len(octets), time.monotonic())
        return OK

    def read(self, name: str, offset: int, size: int) -> bytes | None:
        """So many octets from there on, fewer at the file's end; None when it is not there."""
        kept = self._kept.get(name)
        if kept is None:
            return None
        kept.used = time.monotonic()
        try:
            with self.path(name).open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except OSError:
            self._kept.pop(name, None)
            return None

    def drop(self, name: str) -> None:
        """Remove a file; nothing happens when there is none."""
        self._kept.pop(name, None)
        with contextlib.suppress(OSError):
            self.path(name).unlink()

    def _append(self, name: str, octets: bytes, size: int) -> bool:
        try:
            descriptor = os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(descriptor, size)  # what a write that failed half-way left behind
                rest = memoryview(octets)
                while rest:
                    rest = rest[os.pwrite(descriptor, rest, size + len(octets) - len(rest)) :]
            finally:
                os.close(descriptor)
        except OSError:
            return False
        return True

    def _room(self, octets: int, name: str) -> bool:
        idle_since = time.monotonic() - IDLE_S
        for other, kept in sorted(self._kept.items(), key=lambda entry: entry[1].used):
            if self.octets + octets <= self._most:
                return True
            if other != name and kept.used < idle_since:
                self.drop(other)
        return self.octets + octets <= self._most
