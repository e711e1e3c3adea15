"""Reads a code off the lines of a terminal, by another implementation than the one that drew it."""

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
