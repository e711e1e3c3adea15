"""Codes to scan (ISO/IEC 18004) about a contact's key: as a picture that is sent as a file, else in block characters.

They are made here: whoever made them outside could put another key into them.

`code/MESSAGE`   Pictured   what the picture in that message says, until it has arrived
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from qrcodegen import QrCode, QrSegment

from adapters.inside_api import Step
from bridge.wire.files import FILE_UNAVAILABLE
from bridge.wire.values import CONTROL
from crypto.content import Attachment, FileKind, Mark, Part, Style
from crypto.message import Message
from crypto.records import Records

MOST = 4
"""Pictures under way at one time; for another one the oldest is given up."""
QUIET = 4
"""Modules of empty space around a code."""
SCALE = 8
"""Pixels of a module: as many as an octet has bits."""
_MASK = 0
"""Any mask is as good for a reader; finding the best of the eight takes five times as long."""
_BLOCKS = {(True, True): " ", (True, False): "▄", (False, True): "▀", (False, False): "█"}
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Pictured:
    """What a picture says, of which contact, and when it was asked for."""

    contact: str
    text: str = field(repr=False)
    at_ms: int


# ---------------------------------------------------------------- sending
def send(step: Step, contact: str, text: str) -> None:
    """Send a picture of a code to the user, by the gateway's own contact."""
    gateway = next((each for each in step.account.contacts if each.network == CONTROL), None)
    if gateway is None:
        return
    id_ = f"c-{step.draw('message-id', 8).hex()}"
    _make_room(step.records)
    step.records.put(f"code/{id_}", Pictured(contact, text, step.now_ms()))
    octets, size = picture(text)
    attachment = Attachment("code.png", "image/png", len(octets), FileKind.IMAGE, width=size, height=size)
    step.deliver(gateway.id, Message(id_, "", sent_at_ms=step.now_ms(), attachment=attachment))


def part(records: Records, message_id: str, offset: int) -> Part:
    """A picture's octets from `offset` on: all of them are one part."""
    sent = records.get(f"code/{message_id}", Pictured)
    if sent is None:
        return Part(offset, code=FILE_UNAVAILABLE)
    return Part(offset, picture(sent.text)[0][offset:], last=True)


def settled(records: Records, message_id: str) -> Pictured | None:
    """The picture has arrived, or will not: what it was, if that message had one."""
    sent = records.get(f"code/{message_id}", Pictured)
    if sent is not None:
        records.delete(f"code/{message_id}")
    return sent


def _make_room(records: Records) -> None:
    found = ((name, records.get(name, Pictured)) for name in list(records.names("code/")))
    known = sorted((sent.at_ms, name) for name, sent in found if sent is not None)
    for _, name in known[: max(0, len(known) - MOST + 1)]:
        records.delete(name)


# ---------------------------------------------------------------- drawing
def _modules(text: str) -> list[list[bool]]:
    """Rows of modules, dark ones true, with the space around them."""
    made = QrCode.encode_segments([QrSegment.make_bytes(text.encode())], QrCode.Ecc.LOW, mask=_MASK)
    places = range(-QUIET, made.get_size() + QUIET)
    return [[made.get_module(x, y) for x in places] for y in places]


def picture(text: str) -> tuple[bytes, int]:
    """A PNG of a code, black on white, and its width and height in pixels. ValueError for more than a code holds."""
    rows = _modules(text)
    size = SCALE * len(rows)
    lines = b"".join((b"\0" + bytes(0 if dark else 255 for dark in row)) * SCALE for row in rows)
    header = struct.pack(">IIBBBBB", size, size, 1, 0, 0, 0, 0)  # one bit of grey for a pixel, not interlaced
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, content) for name, content in chunks), size


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def drawn(text: str) -> Iterator[str]:
    """The lines of a code in half blocks, light modules drawn: for clients with characters of one width."""
    rows = _modules(text)
    rows += [[False] * len(rows[0])] * (len(rows) % 2)
    for above, below in zip(rows[::2], rows[1::2], strict=True):
        yield "".join(_BLOCKS[pair] for pair in zip(above, below, strict=True))


def in_characters(head: str, text: str) -> tuple[str, tuple[Mark, ...]]:
    """A message that shows a code in block characters after a line of words: its body and marks."""
    code = "\n".join(drawn(text))
    start = len(head) + 1
    return f"{head}\n{code}", (Mark(start, start + len(code), Style.CODE_BLOCK),)
