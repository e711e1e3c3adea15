"""What negotiations cost that nobody means: in the cheapest way for who sends them, and its price for who answers.

The attacker computes nothing: public values are random octets, proofs too. It hashes one of them, writes forms by
replacing values, and reads one value of the answer.
"""

import hashlib
import re
import secrets
import time
from binascii import b2a_base64
from dataclasses import dataclass, replace

from crypto.esession import names
from crypto.esession.conversation import Event, initiate, receive
from crypto.esession.forms import read_form
from crypto.esession.payloads import negotiation_form
from crypto.esession.retained import Retained
from crypto.esession.suite import exchange
from crypto.esession.terms import Terms
from crypto.xml import CLIENT, parse
from tests.unit.esession_keys import ed25519

THREAD = "bench"
_NONCE = re.compile(rb'var="my_nonce"[^>]*><value>([^<]*)')


@dataclass(frozen=True)
class Spent:
    """CPU seconds of one attempt."""

    attacker_s: float
    answered_s: float
    """The gateway's, for the request."""
    followed_s: float = 0.0
    """And for the third message."""

    @property
    def ratio(self) -> float:
        """How many times the attacker's own cost the gateway pays."""
        return (self.answered_s + self.followed_s) / self.attacker_s


def draw(_name: str, size: int) -> bytes:
    """Randomness."""
    return secrets.token_bytes(size)


def base64(octets: bytes) -> bytes:
    """One line."""
    return b2a_base64(octets, newline=False)


def wrapped(payload: bytes) -> bytes:
    """A message of the thread."""
    return f"<message xmlns='{CLIENT}'><thread>{THREAD}</thread>".encode() + payload + b"</message>"


def value_of(stanza: bytes, *fields: str) -> bytes:
    """The first of these fields that a form has."""
    x = negotiation_form(parse(stanza))
    assert x is not None
    form = read_form(x)
    return next(v for v in (form.value(var) for var in fields) if v).encode()


@dataclass
class Attacker:
    """Stanzas by replacing values in templates of honest ones."""

    request: bytes
    public: bytes
    nonce: bytes
    third: bytes = b""
    third_public: bytes = b""
    third_nonce: bytes = b""
    size: int = 32
    hashed: bool = True

    def asks(self) -> tuple[bytes, bytes]:
        """A request that is new, and e."""
        # Below every prime, and above what is refused.
        e = b"\x7f" + secrets.token_bytes(self.size - 1)
        shown = base64(hashlib.sha256(e).digest() if self.hashed else e)
        octets = self.request.replace(self.public, shown).replace(self.nonce, base64(secrets.token_bytes(8)))
        return octets, e

    def goes_on(self, answer: bytes, e: bytes) -> bytes:
        """The third message, of which the commitment is right and nothing else."""
        found = _NONCE.search(answer)
        assert found is not None
        return self.third.replace(self.third_public, base64(e)).replace(self.third_nonce, found[1])


def _attacker(terms: Terms, *, three: bool = False) -> Attacker:
    asked = initiate(THREAD, terms, draw, three_message=three)
    request = wrapped(asked.replies[0].payload)
    public = value_of(request, *(("dhkeys", names.GROUP_KEYS) if three else ("dhhashes", names.GROUP_HASHES)))
    size = len(exchange(str(terms.groups[0])).public(exchange(str(terms.groups[0])).secret(secrets.token_bytes(32))))
    made = Attacker(request, public, value_of(request, "my_nonce"), size=size, hashed=not three)
    if three:
        return made
    answer = receive(None, parse(request), terms=terms, retained=Retained(), draw=draw)
    proof = receive(
        asked.conversation, parse(wrapped(answer.replies[0].payload)), terms=terms, retained=Retained(), draw=draw
    )
    third = wrapped(proof.replies[0].payload)
    return replace(made, third=third, third_public=value_of(third, "dhkeys"), third_nonce=value_of(third, "nonce"))


class Clock:
    """CPU time, to one account or the other."""

    def __init__(self) -> None:
        self.spent = 0.0

    def __enter__(self) -> None:
        self._began = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.spent += time.process_time() - self._began


def four_messages(terms: Terms, rounds: int) -> Spent:
    """A request and a third message, again and again."""
    made = _attacker(terms)
    attacker, answering, following = Clock(), Clock(), Clock()
    for _ in range(rounds):
        with attacker:
            octets, e = made.asks()
        with answering:
            out = receive(None, parse(octets), terms=terms, retained=Retained(), draw=draw)
        assert out.event is Event.ANSWERED, out
        answer = wrapped(out.replies[0].payload)
        with attacker:
            third = made.goes_on(answer, e)
        with following:
            end = receive(out.conversation, parse(third), terms=terms, retained=Retained(), draw=draw)
        assert end.event is Event.FAILED
    return Spent(attacker.spent / rounds, answering.spent / rounds, following.spent / rounds)


def three_messages(terms: Terms, rounds: int) -> Spent:
    """A request with an open public value: both exponentiations and a signature at once."""
    alice, bob = ed25519("alice"), ed25519("bob")
    own = replace(terms, identity=bob, peer_keys=("key",), three_message=True)
    made = _attacker(replace(terms, identity=alice, peer_keys=("key",)), three=True)
    attacker, answering = Clock(), Clock()
    for _ in range(rounds):
        with attacker:
            octets, _ = made.asks()
        with answering:
            out = receive(None, parse(octets), terms=own, retained=Retained(), draw=draw)
        assert out.event is Event.ANSWERED, out
    return Spent(attacker.spent / rounds, answering.spent / rounds)


__all__ = ["Attacker", "Spent", "four_messages", "three_messages"]
