"""Files that the configuration names: how they are opened, and what is said of those that cannot be used."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bridge.config.paths import file_path

_PATH_LIKE = re.compile(r"(?:~?/|[a-z0-9._-]+/)[a-z0-9._/-]*", re.ASCII)
"""What is certainly meant as a path: a pasted password seldom has a folder and small letters only."""


class BadFile(Exception):
    """A file cannot be used. Carries sentences, never its content."""

    def __init__(self, code: str, found: str, remedy: str) -> None:
        super().__init__(found)
        self.code = code
        self.found = found
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Reference:
    """The name of a file as somebody wrote it, perhaps the secret itself by mistake."""

    written: str = field(repr=False)
    folder: Path

    @property
    def file(self) -> Path:
        """The file meant."""
        return file_path(self.written, self.folder) or self.folder

    @property
    def name(self) -> str | None:
        """The file for an error message; None when the text may be a secret."""
        return str(self.file) if _PATH_LIKE.fullmatch(self.written) else None


def octets_of(reference: Reference, limit: int, require: Callable[[Reference, os.stat_result], None]) -> bytes | None:
    """A file's octets, None when there are more than `limit`; `require` raises `BadFile` for a mode that will not do.

    Raises OSError, or ValueError for a name that is none, when it cannot be opened or read.
    """
    descriptor = os.open(reference.file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        require(reference, os.fstat(descriptor))
        octets = bytearray()
        while len(octets) <= limit and (more := os.read(descriptor, limit + 1 - len(octets))):
            octets += more
    finally:
        os.close(descriptor)
    return bytes(octets) if len(octets) <= limit else None
