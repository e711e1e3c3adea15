"""What a negotiation costs: stanzas and modular exponentiations, beside the least that XEP-0116 allows."""

from dataclasses import dataclass, field

import pytest

from crypto.esession.conversation import Event
from crypto.esession.terms import Terms
from crypto.primitives import fields
from tests.unit.esession_keys import ed25519, keyed
from tests.unit.esession_world import FAST, End, error_stanza, message, negotiate, negotiate_three

LEAST = 1 << 256
"""XEP-0116: 2^2n < x, with the n = 128 bits of a cipher block."""


@dataclass
class Count:
    """The exponents of all modular exponentiations."""

    exponents: list[int] = field(default_factory=list)

    def taken(self) -> int:
        """How many there were since the last time."""
        number = len(self.exponents)
        self.exponents.clear()
        return number


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Count:
    """Counts what goes through the one function that exponentiates."""
    counted, power = Count(), fields.power

    def counting(base: int, exponent: int, modulus: int) -> int:
        counted.exponents.append(exponent)
        return power(base, exponent, modulus)

    monkeypatch.setattr(fields, "power", counting)
    return counted


def stanzas(alice: End, bob: End) -> int:
    """How many were sent until both had a session."""
    return sum(len(outcome.replies) for end in (alice, bob) for outcome in end.outcomes)


def test_four_messages_cost_two_exponentiations_for_each_end(count: Count) -> None:
    """The least: e and d^x for Alice, d and e^y for Bob."""
    alice, bob = End("a"), End("b")
    costs = []
    stanza = alice.initiate()
    costs.append(count.taken())
    for taker in (bob, alice, bob, alice):
        replies = taker.take(stanza).replies
        costs.append(count.taken())
        stanza = message(replies[0]) if replies else stanza
    assert (alice.last.event, bob.last.event) == (Event.ESTABLISHED, Event.ESTABLISHED)
    assert costs == [1, 1, 1, 1, 0]
    assert stanzas(alice, bob) == 4


def test_three_messages_cost_as_much_and_save_a_stanza(count: Count) -> None:
    one, other = ed25519("alice"), ed25519("bob")
    alice, bob = End("a", keyed(one, other.public)), End("b", keyed(other, one.public))
    assert negotiate_three(alice, bob) == (Event.ESTABLISHED, Event.ESTABLISHED)
    assert count.taken() == 4
    assert stanzas(alice, bob) == 3


def test_one_sealed_stanza_is_in_the_last_of_three(count: Count) -> None:
    one, other = ed25519("alice"), ed25519("bob")
    alice, bob = End("a", keyed(one, other.public)), End("b", keyed(other, one.public))
    negotiate_three(alice, bob, once=b"<body>x</body>")
    assert count.taken() == 4
    assert stanzas(alice, bob) == 3


def test_each_further_group_offered_costs_the_initiator_one(count: Count) -> None:
    """XEP-0116 has no way around it: a commitment is sent for each. x25519 is none, nor is a key encapsulation."""
    alice = End("a", Terms(groups=(14, 15, "x25519")))
    negotiate(alice, End("b"))
    assert count.taken() == 5
    negotiate(End("a", Terms(groups=("x25519",))), End("b", Terms(groups=("x25519",))))
    assert count.taken() == 0


def test_exponents_are_as_long_as_demanded_and_no_longer(count: Count) -> None:
    for group in (14, 15, 16):
        negotiate(End("a", Terms(groups=(group,))), End("b", Terms(groups=(group,))))
    assert all(LEAST < exponent <= 2 * LEAST for exponent in count.exponents)


def test_a_request_that_comes_again_costs_nothing(count: Count) -> None:
    alice, bob = End("a"), End("b")
    request = alice.initiate()
    bob.take(request)
    count.taken()
    assert bob.take(request).event is Event.IGNORED
    assert count.taken() == 0


@pytest.mark.parametrize("wrong", ["group", "three", "error"])
def test_what_is_refused_for_its_options_costs_nothing(count: Count, wrong: str) -> None:
    asker = End("a", Terms(groups=(15,)))
    stanza = asker.initiate()
    if wrong == "three":
        stanza = End("a", keyed(ed25519("alice"), peer_keys=("key",))).initiate(three=True)
    if wrong == "error":
        stanza = error_stanza("not-acceptable")
    count.taken()
    End("b", FAST).take(stanza)
    assert count.taken() == 0


def test_a_proof_that_does_not_fit_the_commitment_costs_nothing(count: Count) -> None:
    alice, bob, other = End("a"), End("b"), End("c")
    bob.take(alice.initiate())
    other.initiate()
    answer = message(bob.last.replies[0])
    third = message(alice.take(answer).replies[0])
    bob2 = End("b")
    bob2.take(End("d").initiate())
    count.taken()
    assert bob2.take(third).event is Event.FAILED
    assert count.taken() == 0
