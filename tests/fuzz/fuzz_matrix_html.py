"""Fuzz target: a formatted body into text and marks, and back into a formatted body that reads the same.

Nothing is raised; marks lie within the text; what is written holds no tag or address of the input's making.
"""

import re
import sys

from adapters.matrix.inside_html import DEPTH, MOST_MARKS, safe_address, text_of
from adapters.matrix.inside_markup import formatted
from crypto.content import Style

_TAGS = re.compile(r"<(/?)([a-z0-9]+)((?: [a-z-]+=\"[^\"<>]*\")?)>")
_INLINE = frozenset({"strong", "em", "u", "del", "code", "a", "span", "br"})
_WRITTEN = _INLINE | {"blockquote", "ul", "ol", "li", "pre"} | {f"h{level}" for level in range(1, 7)}
_PLAIN = re.compile(r"[^<>\"']*")


def check_written(html: str) -> None:
    """Every bracket belongs to a tag of ours, tags are closed in order, no more than the reader's depth."""
    opened: list[str] = []
    at = 0
    for match in _TAGS.finditer(html):
        assert _PLAIN.fullmatch(html, at, match.start()), "a character that was not escaped"
        at = match.end()
        end, tag, attribute = match.groups()
        assert tag in _WRITTEN
        if attribute.startswith(" href="):
            assert safe_address(attribute[7:-1].replace("&amp;", "&").replace("&#x27;", "'").replace("&quot;", '"'))
        if end:
            assert opened.pop() == tag
        elif tag != "br":
            opened.append(tag)
    assert _PLAIN.fullmatch(html, at), "a character that was not escaped"
    assert not opened


def target(data: bytes) -> None:
    """Nothing may be raised."""
    found = text_of(data.decode("utf-8", "replace"))
    if found is None:
        return
    body, marks = found
    assert len(marks) <= MOST_MARKS + DEPTH
    for mark in marks:
        assert 0 <= mark.start < mark.end <= len(body)
        assert mark.style is not Style.LINK or safe_address(mark.value)
    _, html = formatted(body, marks)
    if html is not None:
        check_written(html)
        again = text_of(html)
        assert again is not None
        assert "".join(again[0].split()) == "".join(body.split())


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
