"""Codes to scan, on a terminal: two rows of modules in a line of half blocks."""

from typing import Final

import segno

STYLE: Final = "white on black"
"""Light modules are what is drawn, so that it looks the same on terminals of either kind."""
QUIET: Final = 4
"""Modules of empty space around a code (ISO/IEC 18004)."""
_BLOCKS: Final = {(1, 1): " ", (1, 0): "▄", (0, 1): "▀", (0, 0): "█"}


def drawn(octets: bytes) -> list[str]:
    """The lines of a code of one segment in byte mode. ValueError for more than fits."""
    made = segno.make(octets, mode="byte", error="l", micro=False)
    rows = [list(map(int, row)) for row in made.matrix_iter(border=QUIET)]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return ["".join(_BLOCKS[pair] for pair in zip(*both, strict=True)) for both in pairs]
