"""Formatted text on the XMPP side: message markup (XEP-0394) and message styling (XEP-0393) to marks, and back.

Clients show XEP-0393; so marks are written as its directives where these say exactly as much, and as XEP-0394 beside a
body without directives where they do not (docs/decisions/0153-formatted-text.md). A text is never styled by accident.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from adapters.xmpp.inside_ranges import MAX_MARKS, Range, covers, cut, lines_of, sane
from adapters.xmpp.inside_styling import STYLED, Page, is_styled, normal, paged, styled
from crypto.content import Mark, Style
from crypto.xml import Element, escape_attribute

NS_STYLING = "urn:xmpp:styling:0"
NS_MARKUP = "urn:xmpp:markup:0"
NS_SPOILER = "urn:xmpp:spoiler:0"
UNSTYLED = f'<unstyled xmlns="{NS_STYLING}"/>'
MAX_WORK, MAX_LINES = 200_000, 4_000
"""Lines times marks of a text, and lines of one with marks; beyond, it is passed on without marks."""
MAX_WRITTEN = 300
"""Marks written beside a body: receivers bound the elements of a stanza."""
MAX_VALUE = 2048
"""Characters of what belongs to a mark: an address, a reason."""
_INLINE = {"emphasis": Style.EMPHASIS, "strong": Style.STRONG, "code": Style.CODE, "deleted": Style.DELETED}
_NAMES = {style: name for name, style in _INLINE.items()}
_NUMBER = re.compile(r"[0-9]{1,9}\Z")
_QUOTED = re.compile(r"> ?")
_BULLET = re.compile(r"\s*(?:[*+•-]|[0-9]{1,9}[.)])\s+")
_ADDRESS = re.compile(r"(?:https?|mailto|xmpp|matrix|geo):[^\s<>]+\Z")


# ---------------------------------------------------------------- reading
def read_text(body: str, extras: Sequence[Element], gone: Sequence[Range] = ()) -> tuple[str, tuple[Mark, ...]]:
    """The bare text of a body, without the ranges that are gone, and the marks over it."""
    markup = _first(extras, NS_MARKUP, "markup")
    if markup is not None:
        text, marks = _read_markup(body, markup, gone)
    elif _first(extras, NS_STYLING, "unstyled") is None:
        text, marks = styled(cut(body, (), gone)[0])
    else:
        text, marks = cut(body, (), gone)
    spoiler = _first(extras, NS_SPOILER, "spoiler")
    if spoiler is not None and text:
        marks = (Mark(0, len(text), Style.SPOILER, spoiler.text[:MAX_VALUE]), *marks)
    return text, marks


def _first(extras: Sequence[Element], namespace: str, name: str) -> Element | None:
    return next((e for e in extras if e.name == name and e.namespace == namespace), None)


def _read_markup(body: str, markup: Element, gone: Sequence[Range]) -> tuple[str, tuple[Mark, ...]]:
    found = [m for e in markup.elements[:MAX_MARKS] if e.namespace == NS_MARKUP for m in _read_element(body, e)]
    lines = lines_of(body)
    if len(found) > MAX_MARKS or len(found) * len(lines) > MAX_WORK or len(lines) > MAX_LINES:
        return cut(body, (), gone)
    text, marks = cut(body, found, (*_characters(body, found, lines), *gone))
    return text, sane(text, marks)


def _read_element(body: str, element: Element) -> Iterator[Mark]:
    bounds = _bounds(element, len(body))
    if bounds is None:
        return
    start, end = bounds
    match element.name:
        case "span":
            for style in {_INLINE[e.name] for e in element.elements if e.name in _INLINE}:
                yield Mark(start, end, style)
        case "bcode":
            yield _of_lines(body, Mark(start, end, Style.CODE_BLOCK, (element.attribute("language") or "")[:32]))
        case "bquote":
            yield _of_lines(body, Mark(start, end, Style.QUOTE))
        case "list":
            yield from _items(body, element, start, end)


def _items(body: str, element: Element, start: int, end: int) -> Iterator[Mark]:
    starts = [_number(e.attribute("start")) for e in element.elements if e.name == "li"]
    known = sorted({s for s in starts if s is not None and start <= s < end})
    if not known:
        return
    ordered = element.attribute("ordered") in ("true", "1")
    for number, (first, last) in enumerate(zip(known, [*known[1:], end], strict=True), 1):
        yield _of_lines(body, Mark(first, last, Style.ITEM, str(number) if ordered else ""))


def _of_lines(body: str, mark: Mark) -> Mark:
    """The mark over the whole of the lines it touches."""
    start = body.rfind("\n", 0, mark.start) + 1
    last = mark.end - 1 if body[mark.end - 1 : mark.end] == "\n" and mark.end - 1 > mark.start else mark.end
    end = body.find("\n", last)
    return replace(mark, start=start, end=len(body) if end < 0 else end)


def _characters(body: str, marks: Sequence[Mark], lines: Sequence[Range]) -> Iterator[Range]:
    """What in the body only writes the marks: `>` of quotations, one for each; the bullet of an item."""
    quotes = [m for m in marks if m.style is Style.QUOTE]
    quotes = [m for m in quotes if all(body[a : a + 1] == ">" for a, b in lines if covers(body, m, (a, b)))]
    items = {m.start for m in marks if m.style is Style.ITEM}
    for start, end in lines:
        place = start
        for _ in range(sum(covers(body, m, (start, end)) for m in quotes)):
            prefix = _QUOTED.match(body, place, end)
            place = place if prefix is None else prefix.end()
        bullet = _BULLET.match(body, place, end) if start in items else None
        yield start, place if bullet is None else bullet.end()


def _bounds(element: Element, length: int) -> Range | None:
    start, end = _number(element.attribute("start")), _number(element.attribute("end"))
    if start is None or end is None or not 0 <= start < end:
        return None
    return None if start >= length else (start, min(end, length))


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _NUMBER.match(text) else None


# ---------------------------------------------------------------- writing
def written_text(text: str, marks: Sequence[Mark], *, lead: int = 0) -> tuple[str, str]:
    """The body for a bare text and its marks, and the elements that stand beside it.

    `lead`: how many characters will stand before it.
    """
    marks = sane(text, marks)
    lines = text.count("\n") + 1
    if not marks or lines * len(marks) > MAX_WORK or lines > MAX_LINES:
        return text, UNSTYLED if is_styled(text) else ""
    text, marks, elements = _in_words(text, marks)
    wanted = normal(text, [m for m in marks if m.style in STYLED])
    items = {m.start: f"{m.value}. " if m.value else "• " for m in marks if m.style is Style.ITEM}
    page = paged(text, wanted, directives=True, before=lambda start: items.get(start, ""))
    if _says(page, text, wanted, items):
        return page.body, elements
    page = paged(text, marks, directives=False, before=lambda start: items.get(start, ""))
    markup = _markup(page, marks, lead)
    return page.body, elements + markup + (UNSTYLED if markup or is_styled(page.body) else "")


def _says(page: Page, text: str, wanted: Sequence[Mark], items: dict[int, str]) -> bool:
    """Whether the body, read again, says just that."""
    bare, found = styled(page.body)
    ranges, moved = [], 0
    for start in sorted(items):
        ranges.append((start + moved, start + moved + len(items[start])))
        moved += len(items[start])
    bare, found = cut(bare, found, ranges)
    return bare == text and sane(bare, found) == tuple(wanted)


def _in_words(text: str, marks: Sequence[Mark]) -> tuple[str, tuple[Mark, ...], str]:
    """What neither of the two has a form for: addresses and reasons in words, headings as strong lines."""
    elements, kept, insertions = "", list[Mark](), list[tuple[int, str]]()
    for mark in marks:
        value = " ".join(mark.value[:MAX_VALUE].split())
        match mark.style:
            case Style.LINK if value != text[mark.start : mark.end] and _ADDRESS.match(value):
                insertions.append((mark.end, f" ({value})"))
            case Style.SPOILER if (mark.start, mark.end) == (0, len(text)):
                elements = f'<spoiler xmlns="{NS_SPOILER}">{_escaped(value)}</spoiler>'
            case Style.SPOILER:
                insertions.append((mark.start, f"[spoiler{': ' + value if value else ''}] "))
            case Style.HEADING:
                kept.append(replace(mark, style=Style.STRONG, value=""))
            case Style.CODE_BLOCK | Style.ITEM:
                kept.append(replace(mark, value=re.sub(r"[^A-Za-z0-9+#._-]", "", value)[:32]))
            case Style.LINK | Style.UNDERLINE:
                pass
            case _:
                kept.append(replace(mark, value=""))
    for place, words in sorted(insertions, reverse=True):
        text = text[:place] + words + text[place:]
        kept = [_pushed(m, place, len(words), into=words.startswith(" ")) for m in kept]
    return text, tuple(kept), elements


def _pushed(mark: Mark, place: int, length: int, *, into: bool) -> Mark:
    """The mark after something was inserted. `into`: that belongs to what stands before it, as far as lines go."""
    start = mark.start + length if mark.start > place or (mark.start == place and into) else mark.start
    whole = mark.style in (Style.QUOTE, Style.ITEM)
    end = mark.end + length if mark.end > place or (mark.end == place and into and whole) else mark.end
    return replace(mark, start=start, end=end)


def _escaped(text: str) -> str:
    return escape_attribute(text).replace(">", "&gt;")


def _markup(page: Page, marks: Sequence[Mark], lead: int) -> str:
    parts = []
    for mark in marks:
        block = mark.style in (Style.QUOTE, Style.ITEM)
        start = lead + page.place(mark.start, whole_line=block)
        ends = f'start="{start}" end="{lead + page.place(mark.end)}"'
        match mark.style:
            case Style.QUOTE:
                parts.append(f"<bquote {ends}/>")
            case Style.CODE_BLOCK:
                language = f' language="{escape_attribute(mark.value)}"' if mark.value else ""
                parts.append(f"<bcode {ends}{language}/>")
            case Style.ITEM:
                ordered = ' ordered="true"' if mark.value else ""
                parts.append(f'<list {ends}{ordered}><li start="{start}"/></list>')
            case style if style in _NAMES:
                parts.append(f"<span {ends}><{_NAMES[style]}/></span>")
    if not 0 < len(parts) <= MAX_WRITTEN:
        return ""
    return f'<markup xmlns="{NS_MARKUP}">{"".join(parts)}</markup>'
