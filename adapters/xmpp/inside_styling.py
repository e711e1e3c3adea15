"""Message styling (XEP-0393): directives in a body, read as marks over the bare text, and written from them."""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from adapters.xmpp.inside_ranges import BLOCKS, MAX_MARKS, by_line, covers, lines_of, sane
from crypto.content import Mark, Style

MAX_QUOTES = 8
"""Quotations within each other; what is deeper is text."""
_SPANS = {"*": Style.STRONG, "_": Style.EMPHASIS, "~": Style.DELETED, "`": Style.CODE}
_DIRECTIVES = {style: directive for directive, style in _SPANS.items()}
_CLOSING = {directive: re.compile(rf"(?<=\S){re.escape(directive)}") for directive in _SPANS}
_FENCE = "```"
_LANGUAGE = re.compile(r"[A-Za-z0-9+#._-]{1,32}\Z")
_HINT = re.compile(r"[*_~`]|^>", re.MULTILINE)
STYLED = frozenset({*_DIRECTIVES, Style.CODE_BLOCK, Style.QUOTE})
"""What XEP-0393 has directives for."""


# ---------------------------------------------------------------- reading
@dataclass(slots=True)
class _Reader:
    """Collects the bare text and the marks over it."""

    parts: list[str] = field(default_factory=list)
    length: int = 0
    marks: list[Mark] = field(default_factory=list)
    lines: int = 0

    def text(self, text: str) -> None:
        self.parts.append(text)
        self.length += len(text)

    def line(self) -> None:
        """Another line begins."""
        if self.lines:
            self.text("\n")
        self.lines += 1

    def marked(self, start: int, style: Style, value: str = "") -> None:
        if start < self.length:
            self.marks.append(Mark(start, self.length, style, value))


def styled(body: str) -> tuple[str, tuple[Mark, ...]]:
    """The bare text of a body and what its directives say of it. A body with too many of them is taken as it is."""
    if _HINT.search(body) is None:
        return body, ()
    reader = _Reader()
    _blocks(reader, body.split("\n"), 0)
    text = "".join(reader.parts)
    marks = sane(text, reader.marks)
    return (text, marks) if marks and len(reader.marks) <= MAX_MARKS else (body, ())


def is_styled(body: str) -> bool:
    """Whether a client that styles would show the body as something else than it is."""
    return styled(body) != (body, ())


def _blocks(reader: _Reader, lines: Sequence[str], depth: int) -> None:
    at = 0
    while at < len(lines):
        if lines[at].startswith(_FENCE):
            at = _preformatted(reader, lines, at)
        elif lines[at].startswith(">") and depth < MAX_QUOTES:
            at = _quotation(reader, lines, at, depth)
        else:
            reader.line()
            _spans(reader, lines[at])
            at += 1


def _preformatted(reader: _Reader, lines: Sequence[str], at: int) -> int:
    end = next((n for n in range(at + 1, len(lines)) if lines[n] == _FENCE), len(lines))
    inside = lines[at + 1 : end]
    if not any(inside):  # it would mark nothing
        inside, named = lines[at : end + 1], None
    else:
        named = lines[at][len(_FENCE) :].strip()
    start = None
    for line in inside:
        reader.line()
        start = reader.length if start is None else start
        reader.text(line)
    if named is not None and start is not None:
        reader.marked(start, Style.CODE_BLOCK, named if _LANGUAGE.match(named) else "")
    return min(end + 1, len(lines))


def _quotation(reader: _Reader, lines: Sequence[str], at: int, depth: int) -> int:
    end = next((n for n in range(at, len(lines)) if not lines[n].startswith(">")), len(lines))
    inside = [line[2:] if line[1:2].isspace() else line[1:] for line in lines[at:end]]
    start = reader.length + (1 if reader.lines else 0)
    _blocks(reader, inside, depth + 1)
    reader.marked(start, Style.QUOTE)
    return end


def _spans(reader: _Reader, text: str) -> None:
    """Spans of one line; of those within each other the depth is bounded by the number of directives."""
    if not any(directive in text for directive in _SPANS):
        reader.text(text)
        return
    _within(reader, text, 0, len(text))


def _within(reader: _Reader, text: str, start: int, end: int) -> None:
    place = at = start
    hopeless: set[str] = set()
    while at < end:
        directive = text[at]
        if directive in hopeless or not _opens(text, at, start, end):
            at += 1
            continue
        closing = _CLOSING[directive].search(text, at + 1, end)
        if closing is None:
            hopeless.add(directive)  # nor will any further one be closed
        elif closing.start() > at + 1:
            reader.text(text[place:at])
            _span(reader, text, at, closing.start())
            place = at = closing.end()
            continue
        at += 1
    reader.text(text[place:end])


def _span(reader: _Reader, text: str, opening: int, closing: int) -> None:
    style, start = _SPANS[text[opening]], reader.length
    if style is Style.CODE:
        reader.text(text[opening + 1 : closing])
    else:
        _within(reader, text, opening + 1, closing)
    reader.marked(start, style)


def _opens(text: str, at: int, start: int, end: int) -> bool:
    if text[at] not in _SPANS or at + 1 >= end or text[at + 1].isspace():
        return False
    return at == start or text[at - 1].isspace()


# ---------------------------------------------------------------- writing
@dataclass(slots=True)
class Page:
    """A body made of a bare text, and where in it the places of that text are."""

    body: str = field(repr=False)
    _lines: list[tuple[int, int, int]] = field(repr=False)
    """Of each line: its start in the bare text; the start of the whole line, and of its content, in the body."""
    _inserted: list[tuple[int, int]] = field(repr=False)
    """Places in the bare text before which directives stand, and how many characters those have."""

    def place(self, at: int, *, whole_line: bool = False) -> int:
        """Where that place of the bare text is in the body; `whole_line`: where its line begins."""
        start, line, content = self._lines[bisect_right(self._lines, at, key=lambda found: found[0]) - 1]
        if whole_line and at == start:
            return line
        return content + at - start + sum(n for place, n in self._inserted if start <= place < at)


def normal(text: str, marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """The marks with inline ones cut into one per line, as directives are; none where that makes too many."""
    if sum(text.count("\n", m.start, m.end) + 1 for m in marks if m.style not in BLOCKS) > MAX_MARKS:
        return ()
    apart = (part for m in marks for part in ([m] if m.style in BLOCKS else by_line(text, m)))
    return sane(text, apart)


def paged(text: str, marks: Sequence[Mark], *, directives: bool, before: Callable[[int], str] = lambda _: "") -> Page:
    """The text with quotations and code as directives write them; spans only when `directives`.

    `before`: what else stands before the line that begins there.
    """
    spans = _insertions(marks) if directives else {}
    body: list[str] = []
    lines, inserted, length = [], [], 0
    blocks = [m for m in marks if m.style in (Style.QUOTE, Style.CODE_BLOCK)]
    for start, end in lines_of(text):
        over = [m for m in blocks if covers(text, m, (start, end))]
        quoted = "> " * sum(m.style is Style.QUOTE for m in over)
        code = next((m for m in over if m.style is Style.CODE_BLOCK), None) if directives else None
        line = length
        if code is not None and code.start == start:
            body.append(f"{quoted}{_FENCE}{code.value}\n")
        body.append(quoted + before(start))
        length = line + sum(map(len, body[-2:] if code is not None and code.start == start else body[-1:]))
        lines.append((start, line, length))
        for place in (p for p in sorted(spans) if start <= p <= end):
            inserted.append((place, len(spans[place])))
        content = _with(text, start, end, spans)
        fence = f"\n{quoted}{_FENCE}" if code is not None and code.end <= end else ""
        body.append(f"{content}{fence}\n")
        length += len(body[-1])
    return Page("".join(body)[:-1], lines, inserted)


def _with(text: str, start: int, end: int, spans: dict[int, str]) -> str:
    parts, place = [], start
    for at in sorted(p for p in spans if start <= p <= end):
        parts += [text[place:at], spans[at]]
        place = at
    return "".join(parts) + text[place:end]


def _insertions(marks: Sequence[Mark]) -> dict[int, str]:
    """Directives by the place that they stand before: those that close first, the inner ones before the outer."""
    found: dict[int, list[tuple[int, int, str]]] = {}
    # Within code nothing is a directive: of those that cover the same, it is the innermost.
    for number, mark in enumerate(sorted(marks, key=lambda m: (m.start, -m.end, m.style is Style.CODE))):
        directive = _DIRECTIVES.get(mark.style)
        if directive is not None:
            found.setdefault(mark.start, []).append((1, number, directive))
            found.setdefault(mark.end, []).append((0, -number, directive))
    return {place: "".join(d for _, _, d in sorted(entries)) for place, entries in found.items()}
