"""Why a negotiation is refused, each with the error stanza of the specifications for it.

The request's form is never repeated in an error: the deployed implementation would take its own form for a new request.
"""

from enum import StrEnum

from crypto.errors import PeerFault, Unauthentic
from crypto.esession import names
from crypto.xml import CLIENT, Element, serialize

_LONGEST_NAME = 128
_MOST_NAMES = 16


class Condition(StrEnum):
    """Defined conditions of stanza errors (RFC 6120, section 8.3.3) that we send."""

    NOT_ACCEPTABLE = "not-acceptable"
    FEATURE_NOT_IMPLEMENTED = "feature-not-implemented"


class Refusal(PeerFault):
    """A negotiation message is not accepted. `fields`: the form's fields at fault, of names we know."""

    condition = Condition.NOT_ACCEPTABLE

    def __init__(self, sentence: str, *fields: str) -> None:
        super().__init__(sentence)
        self.fields = fields


class Unacceptable(Refusal):
    """None of the offered options, or none of the chosen ones, can be accepted (XEP-0155, "Rejecting a Session")."""

    def __init__(self, *fields: str) -> None:
        super().__init__("options of the negotiation are not acceptable", *fields)


class NotSupported(Refusal):
    """A required field, or the 3-message negotiation, is not implemented (XEP-0116, "ESession Rejection")."""

    condition = Condition.FEATURE_NOT_IMPLEMENTED

    def __init__(self, *fields: str) -> None:
        super().__init__("a feature that the negotiation requires is not implemented", *fields)


class OutOfRange(Refusal):
    """A public Diffie-Hellman value outside 1 < value < p - 1."""

    def __init__(self, condition: Condition) -> None:
        super().__init__("a public Diffie-Hellman value is out of range", "dhkeys")
        self.condition = condition


class WeakCounter(Refusal):
    """A counter that the deployed implementation handles inconsistently: start anew, another will be drawn."""

    def __init__(self) -> None:
        super().__init__("the block counter begins with a zero octet", "counter")


class Unproved(Refusal, Unauthentic):
    """Commitment, nonce, MAC or identity do not fit what was exchanged. All causes look the same from outside."""

    condition = Condition.FEATURE_NOT_IMPLEMENTED

    def __init__(self) -> None:
        super().__init__("the peer did not prove its part of the negotiation")


class UnknownKey(Refusal):
    """The peer named a public key by a fingerprint of which we do not hold the key (XEP-0116, "Verifying Bob")."""

    def __init__(self, var: str) -> None:
        super().__init__("the fingerprint is of a public key that is not known here", var)


class KeyRefused(Refusal):
    """The peer's public key is proved, or could be, but it is not one that is trusted or strong enough here."""

    condition = Condition.FEATURE_NOT_IMPLEMENTED

    def __init__(self, var: str) -> None:
        super().__init__("the peer's public key is not accepted", var)


def error_payload(condition: Condition, fields: tuple[str, ...] = ()) -> bytes:
    """The `<error/>` child of an error stanza, serialised. Absurdly many or long names of fields are left out."""
    children = [Element(names.STANZA_ERRORS, condition.value)]
    named = [var for var in fields if len(var) <= _LONGEST_NAME][:_MOST_NAMES]
    if named:
        listed = tuple(Element(names.NEGOTIATION, "field", (("var", var),)) for var in named)
        children.append(Element(names.NEGOTIATION, "feature", (), listed))
    kind = "modify" if condition is Condition.NOT_ACCEPTABLE else "cancel"
    return serialize(Element(CLIENT, "error", (("type", kind),), tuple(children)), inherited=CLIENT)
