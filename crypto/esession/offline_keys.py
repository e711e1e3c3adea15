"""What both ends of an offline ESession compute alike: the digest of options, the sender's keys, its proof.

The sender has the responder's part (XEP-0187, "Starting an Offline ESession"): its keys are those of the responder,
its proof covers its one form and, unlike an online one, is never answered. There are no keys for the other direction:
the publisher must not send in the session.
"""

from dataclasses import dataclass

from crypto.esession.keys import DirectionKeys, Exchange, Role, counter_octets, direction_keys, responder_counter
from crypto.esession.normal_form import CANONICAL, CLOSING_FIELDS, Reading, normal_form
from crypto.esession.profiles import TRAITS, Profile
from crypto.esession.suite import Suite
from crypto.primitives.ciphers import BLOCK
from crypto.primitives.integers import from_octets
from crypto.xml import Element

COUNTER = 16


def sender_keys(suite: Suite, shared: bytes) -> DirectionKeys:
    """KC_B, KM_B, KS_B, from K."""
    return direction_keys(shared, Role.RESPONDER, TRAITS[Profile.LETTER], suite)


def options_digest(suite: Suite, form: Element) -> bytes:
    """The digest of options as published, signatures and all."""
    return suite.digest(normal_form(form, CANONICAL))


@dataclass(frozen=True, slots=True)
class Proof:
    """What mac_B covers: {N_A, N_B, d, pubKey_B, formB}."""

    publisher_nonce: bytes
    sender_nonce: bytes
    public: bytes
    key_value: bytes
    form: Element

    def mac(self, suite: Suite, keys: DirectionKeys, reading: Reading = CANONICAL) -> bytes:
        """mac_B, under one reading of the normal form."""
        form = normal_form(self.form, reading, without=CLOSING_FIELDS)
        exchange = Exchange(self.publisher_nonce, self.sender_nonce, self.public, form, b"", self.key_value)
        return exchange.proof(keys, suite)


def first_counter(chosen: bytes) -> int:
    """C_B, from the C_A of the field `counter`."""
    return responder_counter(from_octets(chosen))


def after(counter: int, octets: int) -> bytes:
    """The counter behind so many encrypted octets: each block, or part of one, counts."""
    return counter_octets(counter + -(-octets // BLOCK))
