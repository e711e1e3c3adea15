"""Data forms of session negotiation (XEP-0004 as XEP-0155 uses it): reading and writing.

The `<x/>` element is always kept beside the `Form` that was read from it: what is authenticated is the element.
"""

import binascii
from dataclasses import dataclass
from enum import StrEnum

from crypto.errors import Malformed
from crypto.esession import names
from crypto.xml import Element, serialize

MAX_FIELDS = 64
MAX_VALUES = 64
MAX_FORM = 1 << 16
"""Octets of a whole form: it is kept as it came until it has been authenticated."""
MAX_VALUE = 4096
"""Characters of one value: the largest honest one is the base64 of an 8192-bit number (1368)."""
MAX_IDENTITY = 54_000
"""Characters of the value of `identity`, which may hold certificates."""


class FormKind(StrEnum):
    """The `type` of a data form."""

    FORM = "form"
    SUBMIT = "submit"
    RESULT = "result"


class MalformedForm(Malformed):
    """A form, or one of its fields, is missing, doubled or absurd. `fields` names the fields at fault."""

    def __init__(self, *fields: str) -> None:
        super().__init__("a negotiation form is malformed")
        self.fields = fields


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its values, or in a request the options to choose from."""

    var: str
    values: tuple[str, ...]
    options: tuple[str, ...]
    required: bool

    @property
    def offered(self) -> tuple[str, ...]:
        """What a request lets the answerer choose from."""
        return self.options or self.values


@dataclass(frozen=True, slots=True)
class Form:
    """A form of the type `urn:xmpp:ssn`; no field name occurs twice."""

    kind: FormKind
    fields: tuple[Field, ...]

    def field(self, var: str) -> Field | None:
        """The field of that name, None when there is none."""
        for field in self.fields:
            if field.var == var:
                return field
        return None

    def offered(self, var: str) -> tuple[str, ...] | None:
        """The choices of a request's field, None when there is no such field."""
        field = self.field(var)
        return None if field is None else field.offered

    def value(self, var: str) -> str | None:
        """The one value of an answer's field, None when there is no such field. Raises MalformedForm for several."""
        field = self.field(var)
        if field is None:
            return None
        if len(field.values) != 1:
            raise MalformedForm(var)
        return field.values[0]

    def octets(self, var: str, least: int, most: int) -> bytes:
        """The one base64 value of a field that must be there. Raises MalformedForm."""
        value = self.value(var)
        if value is None:
            raise MalformedForm(var)
        return decoded(var, value, least, most)

    def octet_strings(self, var: str, least: int, most: int) -> tuple[bytes, ...]:
        """All base64 values of a field that must be there. Raises MalformedForm."""
        field = self.field(var)
        if field is None:
            raise MalformedForm(var)
        return tuple(decoded(var, value, least, most) for value in field.values)

    def says_yes(self, var: str) -> bool:
        """Whether a boolean field is there and true (`1` or `true`)."""
        field = self.field(var)
        return field is not None and field.values in (("1",), ("true",))


def decoded(var: str, value: str, least: int, most: int) -> bytes:
    """The octets of a base64 value, `least` to `most` of them. Raises MalformedForm naming the field."""
    octets: bytes | None
    try:
        octets = binascii.a2b_base64(value.strip(" \t\r\n"), strict_mode=True)
    except ValueError:
        octets = None
    if octets is None or not least <= len(octets) <= most:
        raise MalformedForm(var)
    return octets


def base64(octets: bytes) -> str:
    """Base64 on one line, padded."""
    return binascii.b2a_base64(octets, newline=False).decode()


# ---------------------------------------------------------------------------------------------------- reading
def is_negotiation_form(x: Element) -> bool:
    """Whether an `<x/>` is a form of session negotiation; nothing is checked beyond that."""
    if (x.namespace, x.name) != (names.DATA, "x"):
        return False
    return any(f.attribute("var") == "FORM_TYPE" and _values(f) == (names.FORM_TYPE,) for f in x.elements)


def read_form(x: Element) -> Form:
    """The form in an `<x/>` element. Raises MalformedForm."""
    if not is_negotiation_form(x):
        raise MalformedForm("FORM_TYPE")
    kind = x.attribute("type")
    if kind not in tuple(FormKind):
        raise MalformedForm
    fields = tuple(_field(e) for e in x.elements if e.name == "field")
    if len(fields) > MAX_FIELDS:
        raise MalformedForm
    doubled = sorted({f.var for f in fields if sum(g.var == f.var for g in fields) > 1})
    if doubled:
        raise MalformedForm(*(var for var in doubled if var in names.KNOWN))
    return Form(FormKind(kind), fields)


def kept_form(x: Element) -> bytes:
    """The `<x/>` serialised, to be kept for the proof. Raises MalformedForm when it is too large."""
    octets = serialize(x)
    if len(octets) > MAX_FORM:
        raise MalformedForm
    return octets


def _field(element: Element) -> Field:
    var = element.attribute("var")
    if var is None:
        raise MalformedForm
    values = _values(element)
    options = tuple(v for o in element.elements if o.name == "option" for v in _values(o))
    longest = MAX_IDENTITY if var == "identity" else MAX_VALUE
    if max(len(values), len(options)) > MAX_VALUES or any(len(v) > longest for v in values + options):
        raise MalformedForm(*({var} & names.KNOWN))
    required = any(e.name == "required" for e in element.elements)
    return Field(var, values, options, required)


def _values(element: Element) -> tuple[str, ...]:
    return tuple(e.text.strip(" \t\r\n") for e in element.elements if e.name == "value")


# ---------------------------------------------------------------------------------------------------- writing
def write_form(kind: FormKind, *fields: Element) -> Element:
    """`<x/>` without titles, labels, empty elements, white space: all readings of it agree but for quotes."""
    form_type = "hidden" if kind is FormKind.FORM else "text-single"
    first = write_field("FORM_TYPE", form_type, names.FORM_TYPE)
    return Element(names.DATA, "x", (("type", kind.value),), (first, *fields))


def write_field(var: str, field_type: str, *values: str) -> Element:
    """A field with values."""
    return Element(names.DATA, "field", (("type", field_type), ("var", var)), tuple(map(_value, values)))


def write_choice(var: str, field_type: str, *options: str) -> Element:
    """A field with options."""
    children = tuple(Element(names.DATA, "option", (), (_value(option),)) for option in options)
    return Element(names.DATA, "field", (("type", field_type), ("var", var)), children)


def write_answer(var: str, *values: str) -> Element:
    """A field of an answer or result; the deployed implementation gives them all this type."""
    return write_field(var, "text-single", *values)


def _value(value: str) -> Element:
    return Element(names.DATA, "value", (), (value,))
