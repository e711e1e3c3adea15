"""`formatted_body` (org.matrix.custom.html) as bare text with marks: a closed list of tags, on hostile input.

What is not known is left out and its text kept; nothing of an attribute is taken but safe addresses, a language, the
reason of a spoiler and the number a list begins with. Time and memory are linear in the input.
"""

import re
from dataclasses import dataclass, field
from html import unescape

from adapters.matrix.inside_html_tokens import attributes_of, tokens
from crypto.content import Mark, Style

MAX_HTML = 128 << 10
"""Characters that are read; who sends more is shown by the plain body."""
MOST_MARKS = 500
DEPTH = 100
"""Of nesting (spec: not more than 100 levels); what is deeper is text."""
MOST_BREAKS = 100
MAX_ADDRESS = 2048
MAX_REASON = 200
SCHEMES = frozenset({"http", "https", "mailto", "xmpp", "matrix", "geo"})

_SPACE = re.compile(r"[ \t\n\r\f]+")
_ADDRESS = re.compile(r"([a-z]{2,10}):[^\x00-\x20\x7f-\x9f]+", re.IGNORECASE)
_LANGUAGE = re.compile(r"(?:^|\s)language-([A-Za-z0-9_+#.-]{1,32})(?:\s|$)")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

_INLINE = {
    "b": Style.STRONG,
    "strong": Style.STRONG,
    "i": Style.EMPHASIS,
    "em": Style.EMPHASIS,
    "u": Style.UNDERLINE,
    "ins": Style.UNDERLINE,
    "del": Style.DELETED,
    "s": Style.DELETED,
    "strike": Style.DELETED,
}
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_BLOCKS = frozenset({"p", "div", "blockquote", "pre", "ul", "ol", "li", "table", "tr", "caption", "details", "summary"})
_BLOCKS |= _HEADINGS
_OTHERS = frozenset({"a", "code", "span", "font", "sup", "sub", "thead", "tbody", "th", "td"})
_KNOWN = _BLOCKS | _OTHERS | _INLINE.keys()
_UNSEEN = frozenset({"mx-reply", "script", "style"})
"""Their text is left out as well: a quotation the relation makes again, and what no client shows."""


@dataclass(slots=True)
class _Open:
    """An element that is open. `start`: where its first character stands, None before there is one."""

    tag: str
    style: Style | None = None
    value: str = ""
    start: int | None = None
    number: int | None = None
    """Of the next item, in a list with numbers."""
    cells: int = 0


@dataclass(slots=True)
class _Writer:
    """The text so far. `breaks`: lines that end before the next character, if there is one."""

    pieces: list[str] = field(default_factory=list)
    length: int = 0
    marks: list[Mark] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)
    fresh: list[_Open] = field(default_factory=list)
    breaks: int = 0
    space: bool = False
    preformatted: int = 0
    pre_begins: bool = False
    unseen: str = ""
    unseen_depth: int = 0

    # ------------------------------------------------------------ text
    def text(self, text: str) -> None:
        """Characters of the input, entities resolved."""
        text = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
        if self.preformatted:
            self._verbatim(text)
            return
        words = _SPACE.split(text)
        for number, word in enumerate(words):
            self.space = self.space or number > 0
            if word:
                self.put(word)

    def _verbatim(self, text: str) -> None:
        if self.pre_begins and text:
            text = text.removeprefix("\n")
            self.pre_begins = False
        for number, line in enumerate(text.split("\n")):
            self.breaks += number > 0
            if line:
                self.put(line)

    def put(self, text: str) -> None:
        """Characters that are shown: what waited before them is written first."""
        lead = ""
        if self.length and self.breaks:
            lead = "\n" * min(self.breaks, MOST_BREAKS)
        elif self.length and self.space and not self.preformatted:
            lead = " "
        self.breaks, self.space = 0, False
        self.pieces += (lead, text)
        self.length += len(lead)
        for element in self.fresh:
            element.start = self.length
        self.fresh.clear()
        self.length += len(text)

    def new_line(self, lines: int = 1) -> None:
        """What follows begins a line."""
        self.breaks = max(self.breaks, lines)
        self.space = False

    # ------------------------------------------------------------ elements
    def opened(self, tag: str, attributes: dict[str, str]) -> None:
        """A start tag."""
        if tag == "br":
            self.breaks += 1
            self.space = False
        elif tag == "hr":
            self.new_line()
            self.put("---")
            self.new_line()
        elif tag == "img":
            self.text(unescape(attributes.get("alt") or attributes.get("title") or ""))
        elif tag in _KNOWN and len(self.stack) < DEPTH:
            self._element(tag, attributes)

    def _element(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in _BLOCKS:
            self.new_line(2 if tag == "p" and not self._within("li") else 1)
        element = _Open(tag)
        if tag in _INLINE:
            element.style = _INLINE[tag]
        elif tag in _HEADINGS:
            element.style, element.value = Style.HEADING, tag[1]
        elif tag in _STYLED:
            _STYLED[tag](self, element, attributes)
        self.stack.append(element)
        if element.style is not None:
            self.fresh.append(element)

    def closed(self, tag: str) -> None:
        """An end tag: of the innermost element of that name, and of all within it."""
        if tag == "p" and tag in _BLOCKS:
            self.new_line(2 if not self._within("li") else 1)
        if self._within(tag):
            while self._close().tag != tag:
                pass

    def _close(self) -> _Open:
        element = self.stack.pop()
        if element.tag == "pre":
            self.preformatted -= 1
            self.pre_begins = False
        if element.tag in _BLOCKS:
            self.new_line()
        if element.style is not None and element.start is None:
            self.fresh = [other for other in self.fresh if other is not element]
        elif element.style is not None and element.start is not None and len(self.marks) < MOST_MARKS:
            self.marks.append(Mark(element.start, self.length, element.style, element.value))
        return element

    def finished(self) -> tuple[str, tuple[Mark, ...]]:
        """The text and its marks, outer ones first."""
        while self.stack:
            self._close()
        return "".join(self.pieces), tuple(sorted(self.marks, key=lambda mark: (mark.start, -mark.end)))

    def _within(self, tag: str) -> bool:
        return any(element.tag == tag for element in self.stack)

    def innermost(self, *tags: str) -> _Open | None:
        """The innermost open element of these names."""
        return next((element for element in reversed(self.stack) if element.tag in tags), None)


# ---------------------------------------------------------------- elements with rules of their own
def _link(_writer: _Writer, element: _Open, attributes: dict[str, str]) -> None:
    address = safe_address(unescape(attributes.get("href", "")))
    if address is not None:
        element.style, element.value = Style.LINK, address


def _code(writer: _Writer, element: _Open, attributes: dict[str, str]) -> None:
    block = writer.innermost("pre")
    if block is None:
        element.style = Style.CODE
        return
    language = _LANGUAGE.search(attributes.get("class", ""))
    if language is not None and not block.value:
        block.value = language[1]


def _preformatted(writer: _Writer, element: _Open, _attributes: dict[str, str]) -> None:
    element.style = Style.CODE_BLOCK
    writer.preformatted += 1
    writer.pre_begins = True


def _quote(_writer: _Writer, element: _Open, _attributes: dict[str, str]) -> None:
    element.style = Style.QUOTE


def _numbered(_writer: _Writer, element: _Open, attributes: dict[str, str]) -> None:
    start = attributes.get("start", "")
    element.number = int(start) if start.isascii() and start.isdigit() and len(start) < 10 else 1


def _item(writer: _Writer, element: _Open, _attributes: dict[str, str]) -> None:
    element.style = Style.ITEM
    listed = writer.innermost("ol", "ul")
    if listed is not None and listed.number is not None:
        element.value = str(listed.number)
        listed.number += 1


def _spoiler(_writer: _Writer, element: _Open, attributes: dict[str, str]) -> None:
    if "data-mx-spoiler" in attributes:
        element.style = Style.SPOILER
        element.value = one_line(unescape(attributes["data-mx-spoiler"]))[:MAX_REASON]


def _cell(writer: _Writer, _element: _Open, _attributes: dict[str, str]) -> None:
    row = writer.innermost("tr")
    if row is not None:
        if row.cells:
            writer.space = False
            writer.put(" | ")
        row.cells += 1


_STYLED = {
    "a": _link,
    "code": _code,
    "pre": _preformatted,
    "blockquote": _quote,
    "ol": _numbered,
    "li": _item,
    "span": _spoiler,
    "font": _spoiler,
    "td": _cell,
    "th": _cell,
}


# ---------------------------------------------------------------- reading
def text_of(html: str) -> tuple[str, tuple[Mark, ...]] | None:
    """The text of a formatted body and its marks; None when there is none, or more than is read."""
    if len(html) > MAX_HTML:
        return None
    writer = _Writer()
    for kind, text, attributes in tokens(html):
        if kind == "text" and not writer.unseen:
            writer.text(unescape(text))
        elif kind != "text":
            _tag(writer, kind, text, attributes)
    body, marks = writer.finished()
    return (body, marks) if body.strip() else None


def safe_address(text: str) -> str | None:
    """An address that may be shown as a link, None when it is of no such kind."""
    text = text.strip()
    found = _ADDRESS.fullmatch(text) if len(text) <= MAX_ADDRESS else None
    return text if found is not None and found[1].lower() in SCHEMES and text.isprintable() else None


def one_line(text: str) -> str:
    """Without characters that end a line, steer a terminal, or that no XML may hold."""
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _tag(writer: _Writer, kind: str, tag: str, attributes: str) -> None:
    if writer.unseen:
        if tag == writer.unseen:
            writer.unseen_depth += 1 if kind == "open" else -1
            writer.unseen = writer.unseen if writer.unseen_depth else ""
    elif kind == "open" and tag in _UNSEEN:
        writer.unseen, writer.unseen_depth = tag, 1
    elif kind == "open":
        writer.opened(tag, attributes_of(attributes))
    else:
        writer.closed(tag)
