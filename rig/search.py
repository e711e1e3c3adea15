"""Looking for something that must not be anywhere: in files, in octets that passed, in the memory of processes."""

import base64
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 22
_MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (r)(w?)")


@dataclass(frozen=True)
class Find:
    """Where a needle was found, and in which form."""

    place: str
    form: str


def forms(needle: bytes) -> dict[str, bytes]:
    """The needle as it is, in hexadecimal, in UTF-16 and UTF-32, and in Base64 at each of the three alignments."""
    found = {
        "as it is": needle,
        "hexadecimal": needle.hex().encode(),
        "HEXADECIMAL": needle.hex().upper().encode(),
    }
    if needle.isascii():
        found["UTF-16"] = needle.decode("ascii").encode("utf-16-le")
        found["UTF-32"] = needle.decode("ascii").encode("utf-32-le")
    for skipped in range(3):
        coded = base64.b64encode(b"\0" * skipped + needle)
        sure = coded[-(-skipped * 4 // 3) : (skipped + len(needle)) * 4 // 3]
        if len(sure) >= 8:
            found[f"Base64, {skipped} octets on"] = sure
            found[f"Base64 for URLs, {skipped} octets on"] = sure.translate(bytes.maketrans(b"+/", b"-_"))
    return found


def in_octets(needles: Iterable[bytes], place: str, octets: bytes | bytearray) -> list[Find]:
    """All forms of the needles found in these octets."""
    return [Find(place, form) for needle in needles for form, coded in forms(needle).items() if coded in octets]


def in_files(needles: Iterable[bytes], folder: Path) -> list[Find]:
    """All forms of the needles found in any file below the folder, by its raw octets."""
    wanted = list(needles)
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [find for path in paths for find in in_octets(wanted, str(path), path.read_bytes())]


def in_memory(needles: Iterable[bytes], pid: int, place: str) -> list[Find]:
    """All forms of the needles found in the memory of a running process. Needs the right to trace it (root)."""
    coded = [(form, octets) for needle in needles for form, octets in forms(needle).items()]
    overlap = max((len(octets) for _, octets in coded), default=1) - 1
    found: set[Find] = set()
    for block in _memory(pid, overlap):
        found.update(Find(place, form) for form, octets in coded if octets in block)
    return sorted(found, key=lambda find: find.form)


def writable_image(pid: int) -> bytes:
    """The memory of a process that it can write to, one mapping after the other: all that it can have put anywhere.

    Needs the right to trace it (root).
    """
    return b"".join(_memory(pid, 0, writable=True))


def _memory(pid: int, overlap: int, *, writable: bool = False) -> Iterator[bytes]:
    """The readable memory of a process in blocks that overlap."""
    handle = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            match = _MAPPING.match(line)
            if match is None or line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")) or (writable and not match[4]):
                continue
            start, end = int(match[1], 16), int(match[2], 16)
            yield from _blocks(handle, start, end, overlap)
    finally:
        os.close(handle)


def _blocks(handle: int, start: int, end: int, overlap: int) -> Iterator[bytes]:
    tail = b""
    while start < end:
        try:
            block = os.pread(handle, min(_CHUNK, end - start), start)
        except OSError:
            return  # a guard page, or the mapping has gone
        if not block:
            return
        yield tail + block
        tail = block[-overlap:] if overlap else b""
        start += len(block)
