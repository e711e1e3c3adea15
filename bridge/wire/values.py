"""What an outgoing request may be made of.

Everything that leaves the enclave is one of the types below. There is no free string among them: a plaintext
has no type to travel in. An adapter declares in its `names` module which value each field of each request has
(`RequestShape`), and the enclave checks every request against that table before it goes out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_BODY = 1 << 20
"""Octets of the largest body of an arrival or a request."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,47}$")]
AccountId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
ContactId = Annotated[str, StringConstraints(pattern=r"^_?[a-z0-9][a-z0-9._-]{0,63}$")]
"""No contact of the operator's map begins with `_`: such are the gateway's own."""
CONTROL, GATEWAY_CONTACT = "control", "_gateway"
"""Network and name of the contact that is the gateway itself: what is written to it are orders."""
OpaqueId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~:+/=-]{1,255}$")]
AddressText = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x20\x7f]{1,1024}$")]


class Strict(BaseModel):
    """Base of all that crosses: closed, immutable, no coercion; rejected input is not repeated in errors."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        ser_json_bytes="base64",
        val_json_bytes="base64",
    )


class Sealed(Strict):
    """Ciphertext for somebody on the far side of the gateway."""

    t: Literal["sealed"] = "sealed"
    v: bytes = Field(max_length=MAX_BODY)


class Public(Strict):
    """Handshake material, bundles, keys meant to be public."""

    t: Literal["public"] = "public"
    v: bytes = Field(max_length=MAX_BODY)


class Number(Strict):
    """A bounded integer (a count, an index, a time in milliseconds)."""

    t: Literal["number"] = "number"
    v: int = Field(ge=0, lt=1 << 53)


class Opaque(Strict):
    """An identifier without meaning: random, or given by a peer and only handed back."""

    t: Literal["opaque"] = "opaque"
    v: OpaqueId


class Code(Strict):
    """A word of an enumeration."""

    t: Literal["code"] = "code"
    v: Name


class Address(Strict):
    """A JID, MXID, room, event or device id."""

    t: Literal["address"] = "address"
    v: AddressText


Value = Annotated[Sealed | Public | Number | Opaque | Code | Address, Field(discriminator="t")]
ValueKind = type[Sealed] | type[Public] | type[Number] | type[Opaque] | type[Code] | type[Address]
Values = dict[Name, Value]


@dataclass(frozen=True)
class RequestShape:
    """The declared fields of one request: required and optional, each with the kind of value it holds."""

    required: Mapping[str, ValueKind]
    optional: Mapping[str, ValueKind] = field(default_factory=lambda: MappingProxyType({}))

    def fits(self, values: Mapping[str, object]) -> bool:
        """Whether the fields are exactly those declared, each of its declared kind."""
        allowed = {**self.optional, **self.required}
        return self.required.keys() <= values.keys() <= allowed.keys() and all(
            type(value) is allowed[name] for name, value in values.items()
        )
