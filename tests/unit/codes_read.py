"""Reads codes off the lines of a terminal and off pictures, by another implementation than the one that drew them."""

import zlib
from collections.abc import Sequence

import zxingcpp

_HALVES = {" ": (0, 0), "▄": (0, 255), "▀": (255, 0), "█": (255, 255)}
_SCALE = 4


def scanned(lines: Sequence[str]) -> bytes:
    """The octets in the code that is drawn so: upper and lower module of each character, light where it is drawn."""
    rows = [[_HALVES[char][half] for char in line] for line in lines for half in (0, 1)]
    width = len(rows[0])
    pixels = bytes(value for row in rows for _ in range(_SCALE) for value in row for _ in range(_SCALE))
    image = memoryview(pixels).cast("B", (_SCALE * len(rows), _SCALE * width))
    (found,) = zxingcpp.read_barcodes(image)
    return bytes(found.bytes)


def pictured(png: bytes) -> str:
    """The text of the code in a PNG of one bit for each pixel. Its chunks are checked."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = dict[bytes, bytes](), 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        named = png[at + 4 : at + 8 + size]
        chunks[named[:4]] = named[4:]
        assert zlib.crc32(named).to_bytes(4, "big") == png[at + 8 + size : at + 12 + size]
        at += 12 + size
    width, height = (int.from_bytes(chunks[b"IHDR"][n : n + 4], "big") for n in (0, 4))
    lines, row = zlib.decompress(chunks[b"IDAT"]), (width + 7) // 8 + 1
    rows = [lines[n * row + 1 : (n + 1) * row] for n in range(height)]
    pixels = bytes(255 * (octets[x // 8] >> (7 - x % 8) & 1) for octets in rows for x in range(width))
    (found,) = zxingcpp.read_barcodes(memoryview(pixels).cast("B", (height, width)))
    return str(found.text)
