"""Codes to scan, on a terminal: two rows of modules in a line of half blocks."""

from typing import Final

from qrcodegen import QrCode, QrSegment

STYLE: Final = "white on black"
"""Light modules are what is drawn, so that it looks the same on terminals of either kind."""
QUIET: Final = 4
"""Modules of empty space around a code (ISO/IEC 18004)."""
_BLOCKS: Final = {(1, 1): " ", (1, 0): "▄", (0, 1): "▀", (0, 0): "█"}


def drawn(octets: bytes) -> list[str]:
    """The lines of a code of one segment in byte mode. ValueError for more than fits."""
    made = QrCode.encode_segments([QrSegment.make_bytes(octets)], QrCode.Ecc.LOW)
    size = made.get_size() + 2 * QUIET
    rows = [[int(made.get_module(x - QUIET, y - QUIET)) for x in range(size)] for y in range(size + size % 2)]
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return ["".join(_BLOCKS[pair] for pair in zip(*both, strict=True)) for both in pairs]
