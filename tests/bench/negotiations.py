"""Negotiations in the protocol core alone, group by group, against the exponentiations that they cannot do without."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from crypto.esession.conversation import Conversation, Outcome, initiate, receive
from crypto.esession.retained import Retained
from crypto.esession.suite import exchange
from crypto.esession.terms import Terms
from tests.bench import attack
from tests.unit.esession_world import message

THREAD = "bench"
GROUPS: tuple[int | str, ...] = (14, 15, 16, 17, 18, "x25519")
QUICK = (14, "x25519")
ANSWERS_A_SECOND = 3
"""To 4-message requests, in the long run, by decision 0097; those of 3 messages count twice."""
NEEDED = 4
"""Exponentiations of one negotiation with one group offered: a public value and a shared value at each end."""


def draw(_name: str, size: int) -> bytes:
    """Randomness."""
    return secrets.token_bytes(size)


@dataclass
class Side:
    """One end, without any storage."""

    terms: Terms
    conversation: Conversation | None = None
    retained: Retained = field(default_factory=Retained)
    cpu_s: float = 0.0

    def timed(self, act: Callable[[], Outcome]) -> Outcome:
        """Do it on this end's account."""
        began = time.process_time()
        outcome = act()
        self.cpu_s += time.process_time() - began
        self.conversation = outcome.conversation
        self.retained = outcome.retained or self.retained
        return outcome


def one(terms: Terms) -> tuple[Side, Side]:
    """Negotiate one session from nothing; both ends with the CPU seconds they took."""
    alice, bob = Side(terms), Side(terms)
    outcome = alice.timed(lambda: initiate(THREAD, terms, draw))
    taker, other = bob, alice
    while outcome.replies:
        stanza = message(outcome.replies[0], THREAD)
        outcome = taker.timed(
            lambda end=taker, octets=stanza: receive(  # type: ignore[misc]
                end.conversation, octets, terms=terms, retained=end.retained, draw=draw
            )
        )
        taker, other = other, taker
    assert alice.conversation is not None
    assert alice.conversation.active
    assert bob.conversation is not None
    assert bob.conversation.active
    return alice, bob


def exponentiation_s(group: str, times: int) -> float:
    """One exponentiation of the group with an exponent as long as the XEP asks for."""
    chosen = exchange(group)
    secret = chosen.secret(secrets.token_bytes(chosen.draw_octets))
    other = chosen.public(chosen.secret(secrets.token_bytes(chosen.draw_octets)))
    began = time.process_time()
    for _ in range(times):
        chosen.shared(other, secret)
    return (time.process_time() - began) / times


def measured(times: int) -> dict[str, float]:
    """Negotiations per CPU second with each group, and how many times the cost of their exponentiations they take."""
    found: dict[str, float] = {}
    for group in GROUPS:
        for kems in (("ml-kem-768",), ()):
            terms = Terms(groups=(group,), kems=kems)
            one(terms)
            rounds = max(2, times if group in QUICK else times // 4)
            sides = [one(terms) for _ in range(rounds)]
            spent = sum(alice.cpu_s + bob.cpu_s for alice, bob in sides) / rounds
            raw = NEEDED * exponentiation_s(str(group), rounds)
            name = f"negotiation in group {group}{', hybrid' if kems else ''}"
            found[f"{name}: per CPU second, both ends"] = 1 / spent
            found[f"{name}: times the cost of its exponentiations"] = spent / raw
    return found | unwanted(times)


def unwanted(times: int) -> dict[str, float]:
    """What `attack` finds for groups from the smallest to the dearest, and what the limits make of the dearest."""
    found: dict[str, float] = {}
    dearest = 0.0
    for group in (14, 16, 18, "x25519"):
        for kems in (("ml-kem-768",), ()):
            terms = Terms(groups=(group,), kems=kems)
            rounds = max(2, times if group in (14, "x25519") else times // 10)
            spent = attack.four_messages(terms, rounds)
            name = f"unwanted, group {group}{', hybrid' if kems else ''}"
            found[f"{name}: CPU ms of the gateway for a request"] = 1000 * spent.answered_s
            found[f"{name}: and for its third message"] = 1000 * spent.followed_s
            found[f"{name}: the gateway's CPU for one of the attacker's"] = spent.ratio
            three = attack.three_messages(terms, rounds)
            found[f"{name}: CPU ms of the gateway for a 3-message request"] = 1000 * three.answered_s
            found[f"{name}: the same, for one of the attacker's"] = three.ratio
            # A request of 3 messages counts as two.
            dearest = max(dearest, spent.answered_s + spent.followed_s, three.answered_s / 2)
    found["unwanted, what the limits allow an account each minute: answers"] = 60 * ANSWERS_A_SECOND
    found["unwanted, the dearest of them all the time: percent of one CPU"] = 100 * ANSWERS_A_SECOND * dearest
    return found
