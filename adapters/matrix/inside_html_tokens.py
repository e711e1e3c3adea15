"""HTML cut into texts and tags, on hostile input: every character is looked at a bounded number of times."""

import re
from collections.abc import Iterator

# A tag ends before the next angle bracket, also within quotes: so no part of the input is read twice.
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9-]{0,30})(?![A-Za-z0-9-])((?:[^<>\"']|\"[^\"<>]*\"|'[^'<>]*')*+)>")
_ATTRIBUTE = re.compile(r"([A-Za-z][A-Za-z0-9-]*+)(?:\s*+=\s*+(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]++)))?+")
_DECLARATION = re.compile(r"<[!?][^<>]*>")


def attributes_of(text: str) -> dict[str, str]:
    """The attributes in a start tag, the first of each name; entities are not resolved."""
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(text):
        value = next((group for group in match.groups()[1:] if group is not None), "")
        found.setdefault(match[1].lower(), value)
    return found


def tokens(html: str) -> Iterator[tuple[str, str, str]]:
    """Texts, start tags and end tags, in order: kind, text or name, attributes."""
    at, comments = 0, True
    while at < len(html):
        bracket = html.find("<", at)
        if bracket < 0:
            yield "text", html[at:], ""
            return
        if bracket > at:
            yield "text", html[at:bracket], ""
        if comments and html.startswith("<!--", bracket):
            end = html.find("-->", bracket + 4)
            comments = end >= 0
            if comments:
                at = end + 3
                continue
        tag = _TAG.match(html, bracket)
        declaration = None if tag else _DECLARATION.match(html, bracket)
        if tag is not None:
            yield "close" if tag[1] else "open", tag[2].lower(), tag[3]
            at = tag.end()
        elif declaration is not None:
            at = declaration.end()
        else:
            yield "text", "<", ""
            at = bracket + 1
