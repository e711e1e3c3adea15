"""Bare text with marks as `formatted_body` and as a plain `body`: escaped, and nested whatever overlaps."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from html import escape
from itertools import accumulate, pairwise

from adapters.matrix.inside_html import MAX_REASON, MOST_MARKS, one_line, safe_address
from crypto.content import Mark, Style

MOST_WORK = 200_000
"""Lines times marks; what has more is sent as plain text."""
_WHOLE_LINES = frozenset({Style.QUOTE, Style.ITEM, Style.CODE_BLOCK, Style.HEADING})
_TAGS = {
    Style.STRONG: "strong",
    Style.EMPHASIS: "em",
    Style.UNDERLINE: "u",
    Style.DELETED: "del",
    Style.CODE: "code",
    Style.LINK: "a",
    Style.SPOILER: "span",
}
_LANGUAGE = re.compile(r"[A-Za-z0-9_+#.-]{1,32}")
_Opened = tuple[str, str, int]
"""An element that is open: its tag, its start tag, the number of its mark (-1: of no mark's own)."""


def formatted(body: str, marks: Sequence[Mark]) -> tuple[str, str | None]:
    """`body` and `formatted_body` of a text; None when there is nothing to format."""
    lines = body.split("\n")
    kept = [mark for mark in marks[:MOST_MARKS] if _usable(mark, len(body))]
    if not kept or len(lines) * len(kept) > MOST_WORK:
        return body, None
    kept.sort(key=lambda mark: (mark.start, -mark.end))
    starts = [0, *accumulate(len(line) + 1 for line in lines[:-1])]
    page = _Page(lines, starts, kept)
    return page.plain(), page.html()


def _usable(mark: Mark, length: int) -> bool:
    in_bounds = 0 <= mark.start < mark.end <= length
    return in_bounds and (mark.style is not Style.LINK or safe_address(mark.value) is not None)


class _Page:
    """A text cut into lines, with the marks of each line."""

    def __init__(self, lines: list[str], starts: list[int], marks: list[Mark]) -> None:
        self._lines, self._starts, self._marks = lines, starts, marks
        self._blocks: list[list[int]] = [[] for _ in lines]
        self._inline: list[list[int]] = [[] for _ in lines]
        for number, mark in enumerate(marks):
            kept = self._blocks if mark.style in _WHOLE_LINES else self._inline
            first = bisect_right(starts, mark.start) - 1
            last = bisect_right(starts, mark.end - 1) - 1
            for line in range(first, last + 1):
                kept[line].append(number)

    # ------------------------------------------------------------ HTML
    def html(self) -> str:
        """The formatted body."""
        out: list[str] = []
        opened: list[_Opened] = []
        for number, line in enumerate(self._lines):
            wanted = self._elements(number)
            common = _common(opened, wanted)
            changed = common < max(len(opened), len(wanted))
            preformatted = any(tag == "pre" for tag, _, _ in wanted)
            if number and not changed:
                out.append("\n" if preformatted else "<br>")
            elif number and not self._lines[number - 1] and not any(tag == "pre" for tag, _, _ in opened):
                out.append("<br>")  # the end of an empty line: before a block a single one shows nothing
            out += (_end(element) for element in reversed(opened[common:]))
            out += (start for _, start, _ in wanted[common:])
            out.append(escape(line) if preformatted else self._spans(number))
            opened = wanted
        out += (_end(element) for element in reversed(opened))
        return "".join(out)

    def _elements(self, line: int) -> list[_Opened]:
        """The block elements that a line stands in, the outermost first."""
        found: list[_Opened] = []
        for number in self._blocks[line]:
            mark = self._marks[number]
            if mark.style is Style.QUOTE:
                found.append(("blockquote", "<blockquote>", number))
            elif mark.style is Style.ITEM:
                numbered = mark.value.isascii() and mark.value.isdigit() and len(mark.value) < 10
                start = f'<ol start="{int(mark.value)}">' if numbered else "<ul>"
                found += [("ol", start, -1) if numbered else ("ul", start, -1), ("li", "<li>", number)]
            elif mark.style is Style.HEADING:
                tag = f"h{mark.value}" if mark.value in ("1", "2", "3", "4", "5", "6") else "h3"
                found.append((tag, f"<{tag}>", number))
            elif not any(tag == "pre" for tag, _, _ in found):
                language = f' class="language-{mark.value}"' if _LANGUAGE.fullmatch(mark.value) else ""
                found.append(("pre", f"<pre><code{language}>", number))
        return found

    def _spans(self, line: int) -> str:
        """A line's text with its inline elements."""
        text, start = self._lines[line], self._starts[line]
        end = start + len(text)
        marks = [(number, self._marks[number]) for number in self._inline[line]]
        edges = {start, end} | {edge for _, mark in marks for edge in (mark.start, mark.end) if start < edge < end}
        cuts = sorted(edges)
        out: list[str] = []
        opened: list[_Opened] = []
        for left, right in pairwise(cuts):
            active = [(number, mark) for number, mark in marks if mark.start <= left and right <= mark.end]
            wanted = _inline_elements(active)
            common = _common(opened, wanted)
            out += (_end(element) for element in reversed(opened[common:]))
            out += (tag for _, tag, _ in wanted[common:])
            out.append(escape(text[left - start : right - start]))
            opened = wanted
        out += (_end(element) for element in reversed(opened))
        return "".join(out)

    # ------------------------------------------------------------ plain
    def plain(self) -> str:
        """The body for clients that show no marks: what they say of lines and addresses stands in characters."""
        begun: set[int] = set()
        lines = []
        for number in range(len(self._lines)):
            lead = ""
            for block in self._blocks[number]:
                mark = self._marks[block]
                if mark.style is Style.QUOTE:
                    lead += "> "
                elif mark.style is Style.ITEM:
                    bullet = f"{mark.value}. " if mark.value else "- "
                    lead += bullet if block not in begun else " " * len(bullet)
                    begun.add(block)
            lines.append(lead + self._plain_line(number))
        return "\n".join(lines)

    def _plain_line(self, line: int) -> str:
        text, start = self._lines[line], self._starts[line]
        end = start + len(text)
        out, at = "", start
        for number in self._inline[line]:
            mark = self._marks[number]
            left, right = max(mark.start, start), min(mark.end, end)
            if left < at or mark.style not in (Style.LINK, Style.SPOILER):
                continue
            shown = text[left - start : right - start]
            out += text[at - start : left - start]
            if mark.style is Style.SPOILER:  # it must not stand in a notification (spec: Spoiler messages)
                reason = one_line(mark.value)[:MAX_REASON]
                out += f"[Spoiler for {reason}]" if reason else "[Spoiler]"
            else:
                out += shown if shown in mark.value or mark.end > end else f"{shown} ({mark.value})"
            at = right
        return out + text[at - start :]


def _inline_elements(active: list[tuple[int, Mark]]) -> list[_Opened]:
    found: list[_Opened] = []
    for number, mark in active:
        tag = _TAGS[mark.style]
        if tag == "a" and any(name == "a" for name, _, _ in found):
            continue
        start = f"<{tag}>"
        if tag == "a":
            start = f'<a href="{escape(mark.value.strip())}">'
        elif tag == "span":
            start = f'<span data-mx-spoiler="{escape(one_line(mark.value)[:MAX_REASON])}">'
        found.append((tag, start, number))
    return found


def _common(one: list[_Opened], other: list[_Opened]) -> int:
    """How many outer elements stay open. Lists go on from item to item, whatever number they began with."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if (left[0], left[2]) != (right[0], right[2]):
            break
        count += 1
    return count


def _end(element: _Opened) -> str:
    return "</code></pre>" if element[0] == "pre" else f"</{element[0]}>"
