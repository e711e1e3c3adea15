"""What stands in clear beside the older form of OMEMO, both ways, where the operator says so (decision 0187).

The older form encrypts a text and nothing else. Who carries a stanza can put a relation beside it, take it away, or
turn it towards another message: by default none counts and none is written. With `beside: all` they do; even then
nothing of what stands there takes words away that were encrypted, or adds any.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from adapters.inside_api import AnyValue, ContactPolicy
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_reading import NS_CORRECT, NS_FALLBACK, NS_REPLY
from adapters.xmpp.inside_stanzas import NS_MARKERS, NS_REACTIONS, NS_RETRACT, Content, is_opaque
from adapters.xmpp.inside_state import Queued
from adapters.xmpp.names import address_of
from bridge.wire.values import Code, Number, Opaque
from crypto.content import ContentPolicy
from crypto.xml import CLIENT, Element, parse

_RELATIONS = ((NS_CORRECT, "replace"), (NS_REPLY, "reply"))
_MOST_QUOTED = 4_000
"""Characters of a quotation that is taken for one."""


def beside_counts(contact: ContactPolicy) -> bool:
    """Whether what stands in clear beside the older form is heeded and written."""
    return contact.options.get("omemo") == "on" and contact.options.get("omemo-beside") == "all"


# ---------------------------------------------------------------- from the user
def heeded(at: LegStep, body: str, extras: Sequence[Element]) -> tuple[Element, ...]:
    """Of what stands beside an encrypted text: what it replaces, what it answers, which lines of it are quoted."""
    if not beside_counts(at.contact):
        return ()
    found = [_first(extras, *name) for name in _RELATIONS]
    quoted = next((e for e in extras if _quotes(e, body)), None)
    return tuple(e for e in (*found, quoted) if e is not None)


def bare_content(at: LegStep, content: Content) -> Content | None:
    """What a stanza without any ciphertext says that has no text of its own: signs, a retraction, what was read.

    None: it has to be encrypted. Its text, which is for clients that know nothing else, goes no further.
    """
    if not beside_counts(at.contact):
        return None
    marker, retract = _first(content.extras, NS_MARKERS, "displayed"), _first(content.extras, NS_RETRACT, "retract")
    reactions = _first(content.extras, NS_REACTIONS, "reactions")
    if retract is None and (reactions is None or not _are_signs(reactions)):
        return None if marker is None or content.body else replace(content, body=None, extras=(marker,))
    return replace(content, body=None, extras=tuple(e for e in (retract or reactions,) if e is not None))


def why_refused(content: Content) -> str:
    """The code for what was not encrypted: clients of the older form encrypt texts, but not reactions and the like."""
    known = {(NS_REACTIONS, "reactions"), (NS_RETRACT, "retract")}
    return "omemo-beside" if any((e.namespace, e.name) in known for e in content.extras) else "omemo-plain"


def _first(extras: Sequence[Element], namespace: str, name: str) -> Element | None:
    return next((e for e in extras if (e.namespace, e.name) == (namespace, name)), None)


def _quotes(element: Element, body: str) -> bool:
    """Whether it marks whole lines at the beginning that are quoted: others would take the user's own words away."""
    if (element.namespace, element.name, element.attribute("for")) != (NS_FALLBACK, "fallback", NS_REPLY):
        return False
    if len(element.elements) != 1 or element.elements[0].attribute("start") != "0":
        return False
    end = element.elements[0].attribute("end") or ""
    if not (end.isascii() and end.isdigit()) or len(end) > 4 or not 0 < int(end) <= min(len(body), _MOST_QUOTED):
        return False
    lead, rest = body[: int(end)], body[int(end) :]
    whole = lead.endswith("\n") or rest.startswith("\n")
    return whole and all(line.startswith(">") for line in lead.removesuffix("\n").split("\n"))


def _are_signs(reactions: Element) -> bool:
    """Whether nothing can be read in it: words could be made up in the user's name."""
    texts = [e.text.strip() for e in reactions.elements]
    return all(map(_is_sign, texts)) and sum(map(_letters_drawn, texts)) <= 1


def _is_sign(text: str) -> bool:
    kinds = [unicodedata.category(char) for char in text]
    return not any(kind.startswith("L") for kind in kinds) and sum(kind.startswith("N") for kind in kinds) <= 1


def _letters_drawn(text: str) -> int:
    """How many signs in it are letters in a circle, a square or the like; a flag, which is made of two, is none."""
    names = [unicodedata.name(char, "") for char in text if unicodedata.category(char) == "So"]
    if len(names) == 2 and all(name.startswith("REGIONAL INDICATOR") for name in names):
        return 0
    return sum(any(kind in name for kind in _WRITING) for name in names)


_WRITING = ("LETTER", "SQUARED", "IDEOGRAPH", "KATAKANA", "HANGUL")


# ---------------------------------------------------------------- to the user
def older_text(at: LegStep, entry: Queued) -> str:
    """The text in the older form: everything in words, but for a relation that stands beside it."""
    relations = _written(entry) if beside_counts(at.contact) else {}
    return entry.body if "replaces" in relations else entry.said


def beside_values(at: LegStep, entry: Queued) -> dict[str, AnyValue]:
    """What is to stand beside the ciphertext of a message: ids and places, never a text."""
    if not beside_counts(at.contact):
        return {}
    asked: dict[str, AnyValue] = {"markable": Code(v="yes")} if ContentPolicy.of(at.contact.options).receipts else {}
    return {**_written(entry), **asked}


def _written(entry: Queued) -> dict[str, AnyValue]:
    if entry.rich is None or not entry.rich.elements:
        return {}
    elements = parse(f"<s xmlns='{CLIENT}'>{entry.rich.elements}</s>".encode()).elements
    found: dict[str, AnyValue] = {}
    for value, name in (
        ("replaces", (NS_CORRECT, "replace")),
        ("retracts", (NS_RETRACT, "retract")),
        ("answers", (NS_REPLY, "reply")),
    ):
        element = _first(elements, *name)
        named = None if element is None else element.attribute("id")
        if element is not None and named is not None and is_opaque(named):
            found[value] = Opaque(v=named)
            author = element.attribute("to")
            if value == "answers" and author:
                found["author"] = address_of(author)
    quoted = next((e for e in elements if _quotes(e, entry.body)), None)
    if "answers" in found and quoted is not None:
        found["quoted"] = Number(v=int(quoted.elements[0].attribute("end") or 0))
    return found
