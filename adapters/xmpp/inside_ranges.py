"""Stretches of a text, with marks over it: what is taken out of a text, and where the marks are then."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from crypto.content import Mark, Style

MAX_MARKS = 500
"""Of one message. A text with more is passed on without any."""
BLOCKS = frozenset({Style.CODE_BLOCK, Style.QUOTE, Style.ITEM, Style.HEADING})
"""Styles of whole lines."""
Range = tuple[int, int]


def whole(ranges: Iterable[Range], length: int) -> tuple[Range, ...]:
    """The ranges within a text of that length, in order, those that touch or overlap made one."""
    joined: list[Range] = []
    for start, end in sorted((max(0, a), min(length, b)) for a, b in ranges):
        if start >= end:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


def cut(text: str, marks: Sequence[Mark], ranges: Iterable[Range]) -> tuple[str, tuple[Mark, ...]]:
    """The text without the ranges; marks move along, and are gone when nothing is left under them."""
    gone = whole(ranges, len(text))
    if not gone:
        return text, tuple(marks)
    kept, place = [], 0
    for start, end in gone:
        kept.append(text[place:start])
        place = end
    kept.append(text[place:])

    def moved(at: int) -> int:
        return at - sum(min(at, end) - start for start, end in gone if start < at)

    after = (replace(m, start=moved(m.start), end=moved(m.end)) for m in marks)
    return "".join(kept), tuple(m for m in after if m.start < m.end)


def lines_of(text: str) -> list[Range]:
    """Where each line begins and ends; line feeds belong to none."""
    found, start = [], 0
    for line in text.split("\n"):
        found.append((start, start + len(line)))
        start += len(line) + 1
    return found


def covers(text: str, mark: Mark, line: Range) -> bool:
    """Whether the mark is over that line; over an empty one at its end, when the line feed before is in it."""
    start, end = line
    if start < mark.end:
        return mark.start <= start
    return start == end == mark.end and mark.start < start and text[start - 1] == "\n"


def by_line(text: str, mark: Mark) -> list[Mark]:
    """An inline mark as one for each line it covers, without the white space at its ends."""
    found = []
    for start, end in lines_of(text[mark.start : mark.end]):
        stretch = text[mark.start + start : mark.start + end]
        first = mark.start + start + len(stretch) - len(stretch.lstrip())
        last = mark.start + end - (len(stretch) - len(stretch.rstrip()))
        if first < last:
            found.append(replace(mark, start=first, end=last))
    return found


def sane(text: str, marks: Iterable[Mark]) -> tuple[Mark, ...]:
    """The marks that lie within the text, in order; none at all when there are too many.

    None is there twice but quotations, which may hold nothing but a quotation.
    """
    inside = [m for m in marks if 0 <= m.start < m.end <= len(text)]
    found = [*{m for m in inside if m.style is not Style.QUOTE}, *(m for m in inside if m.style is Style.QUOTE)]
    if len(found) > MAX_MARKS:
        return ()
    return tuple(sorted(found, key=lambda m: (m.start, -m.end, m.style, m.value)))
