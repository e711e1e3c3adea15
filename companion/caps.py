"""Entity capabilities (XEP-0115): what an address says it is able to, and the hash by which it is known."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import new
from html import escape
from xml.etree.ElementTree import Element

NS_CAPS = "http://jabber.org/protocol/caps"
NS_INFO = "http://jabber.org/protocol/disco#info"
NS_DATA = "jabber:x:data"
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
HASHES = frozenset({"sha-1", "sha-256"})


@dataclass(frozen=True, slots=True)
class Form:
    """One extended form (XEP-0128): its type, and its fields' values."""

    type: str
    fields: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Info:
    """A disco#info result."""

    identities: tuple[tuple[str, str, str, str], ...]
    """Category, type, language, name."""
    features: tuple[str, ...]
    forms: tuple[Form, ...] = ()

    def with_features(self, more: Iterable[str]) -> "Info":
        """With further features."""
        return Info(self.identities, tuple(sorted({*self.features, *more})), self.forms)

    def payload(self, node: str | None) -> bytes:
        """The `<query/>` of an answer."""
        asked = f" node='{escape(node)}'" if node else ""
        parts = [f"<query xmlns='{NS_INFO}'{asked}>"]
        for category, kind, language, name in self.identities:
            written = f"<identity category='{escape(category)}' type='{escape(kind)}'"
            written += f" xml:lang='{escape(language)}'" if language else ""
            parts.append(written + (f" name='{escape(name)}'/>" if name else "/>"))
        parts += [f"<feature var='{escape(feature)}'/>" for feature in self.features]
        parts += [_form(form) for form in self.forms]
        return "".join([*parts, "</query>"]).encode()

    def hash(self, algorithm: str) -> str:
        """The verification string's hash (XEP-0115, 5.1)."""
        digest = new(algorithm.replace("-", ""), self.verification.encode()).digest()
        return base64.b64encode(digest).decode()

    @property
    def verification(self) -> str:
        """The verification string. Different answers may have the same: nothing tells its parts apart for certain."""
        parts = ["/".join(identity) for identity in sorted(self.identities)]
        parts += sorted(set(self.features))
        for form in sorted(self.forms, key=lambda form: form.type):
            parts.append(form.type)
            for var, values in sorted(form.fields):
                parts += [var, *sorted(values)]
        return "".join(f"{part}<" for part in parts)


def _form(form: Form) -> str:
    fields = [f"<field var='FORM_TYPE' type='hidden'><value>{escape(form.type)}</value></field>"]
    for var, values in form.fields:
        inner = "".join(f"<value>{escape(value)}</value>" for value in values)
        fields.append(f"<field var='{escape(var)}'>{inner}</field>")
    return f"<x xmlns='{NS_DATA}' type='result'>{''.join(fields)}</x>"


def read_info(query: Element) -> Info:
    """The content of a disco#info `<query/>`."""
    identities = tuple(
        (i.get("category", ""), i.get("type", ""), i.get(XML_LANG, ""), i.get("name", ""))
        for i in query.findall(f"{{{NS_INFO}}}identity")
    )
    features = tuple(f.get("var", "") for f in query.findall(f"{{{NS_INFO}}}feature"))
    forms = (_read_form(x) for x in query.findall(f"{{{NS_DATA}}}x"))
    return Info(identities, features, tuple(form for form in forms if form is not None))


def _read_form(x: Element) -> Form | None:
    fields = {
        f.get("var", ""): tuple(v.text or "" for v in f.findall(f"{{{NS_DATA}}}value"))
        for f in x.findall(f"{{{NS_DATA}}}field")
    }
    kind = fields.pop("FORM_TYPE", ())
    return Form(kind[0], tuple(fields.items())) if kind else None


@dataclass(frozen=True, slots=True)
class Caps:
    """The `<c/>` of a presence."""

    node: str
    ver: str
    hash: str

    @property
    def name(self) -> str:
        """The node to ask for."""
        return f"{self.node}#{self.ver}"


def read_caps(c: Element | None) -> Caps | None:
    """What a presence announces; None when it announces nothing that can be asked for and checked."""
    if c is None or c.get("hash") not in HASHES or not c.get("node") or not c.get("ver"):
        return None
    return Caps(c.get("node", ""), c.get("ver", ""), c.get("hash", ""))
