"""The normal form of data forms: what of a form is authenticated (XEP-0116, "XML Normalization").

The clause contradicts itself about quotes and is not followed by the deployed implementation for empty elements and
white space, so there are several readings. Each is injective enough: it covers every element, attribute and text of
the form as it was received. Trying several weakens nothing, since each is tried against a keyed MAC.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass

from crypto.xml import Element, escape_attribute, escape_text


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the clause."""

    quote: str
    """The delimiter of attribute values."""
    paired: bool
    """Whether an empty element is a pair of tags, else `<name />`."""
    spaced: bool
    """Whether the text between elements inside a field is kept."""


AS_DEPLOYED = Reading('"', paired=False, spaced=True)
CANONICAL = Reading('"', paired=True, spaced=False)
READINGS = (
    AS_DEPLOYED,
    CANONICAL,
    Reading('"', paired=False, spaced=False),
    Reading('"', paired=True, spaced=True),
    Reading("'", paired=False, spaced=True),
    Reading("'", paired=True, spaced=False),
    Reading("'", paired=False, spaced=False),
    Reading("'", paired=True, spaced=True),
)


def distinct_readings(*forms: Element) -> tuple[Reading, ...]:
    """One of each group of readings that these forms do not tell apart, in the order of READINGS."""
    empty, mixed = any(map(_holds_empty, forms)), any(map(_holds_mixed, forms))
    found: dict[tuple[str, bool, bool], Reading] = {}
    for reading in READINGS:
        found.setdefault((reading.quote, empty and reading.paired, mixed and reading.spaced), reading)
    return tuple(found.values())


def _holds_empty(element: Element) -> bool:
    """Whether an element below this one has no content."""
    return any(not child.children or _holds_empty(child) for child in element.children if isinstance(child, Element))


def _holds_mixed(element: Element) -> bool:
    """Whether an element below this one has text beside elements."""
    inside = (child for child in element.children if isinstance(child, Element))
    return any(0 < len(child.elements) < len(child.children) or _holds_mixed(child) for child in inside)


CLOSING_FIELDS = frozenset({"identity", "mac"})
"""The fields that a completion form is normalised without."""


def normal_form(form: Element, reading: Reading, *, without: Container[str | None] = ()) -> bytes:
    """The content of `<x/>` under a reading: its child elements in order, except fields of the names `without`."""
    kept = (e for e in form.elements if not (e.name == "field" and e.attribute("var") in without))
    return "".join(part for child in kept for part in _parts(child, reading)).encode()


def _parts(element: Element, reading: Reading) -> Iterator[str]:
    quote = reading.quote
    yield f"<{element.name}"
    for name, value in sorted(element.attributes):
        yield f" {name}={quote}{_escaped(value, quote)}{quote}"
    inner = "".join(_inner(element, reading))
    if inner or element.children:
        yield f">{inner}</{element.name}>"
    else:
        yield f"></{element.name}>" if reading.paired else " />"


def _inner(element: Element, reading: Reading) -> Iterator[str]:
    mixed = any(isinstance(c, Element) for c in element.children)
    for child in element.children:
        if isinstance(child, Element):
            yield from _parts(child, reading)
        elif reading.spaced or not mixed:
            yield escape_text(child)


def _escaped(value: str, quote: str) -> str:
    escaped = escape_attribute(value)
    return escaped if quote == '"' else escaped.replace("'", "&apos;")
