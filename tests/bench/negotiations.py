"""Negotiations in the protocol core alone, group by group, against the exponentiations that they cannot do without."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from crypto.esession.conversation import Conversation, Outcome, initiate, receive
from crypto.esession.retained import Retained
from crypto.esession.suite import exchange
from crypto.esession.terms import Terms
from tests.unit.esession_world import message

THREAD = "bench"
GROUPS = (14, 15, 16, 17, 18)
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
        terms = Terms(groups=(group,))
        one(terms)
        rounds = max(2, times if group == min(GROUPS) else times // 4)
        sides = [one(terms) for _ in range(rounds)]
        spent = sum(alice.cpu_s + bob.cpu_s for alice, bob in sides) / rounds
        raw = NEEDED * exponentiation_s(str(group), rounds)
        found[f"negotiation in group {group}: per CPU second, both ends"] = 1 / spent
        found[f"negotiation in group {group}: times the cost of its exponentiations"] = spent / raw
    return found | unwanted(times)


def unwanted(times: int) -> dict[str, float]:
    """What a request costs that nobody means: sent again and again, it costs its sender no exponentiation at all."""
    terms = Terms()
    request = message(initiate(THREAD, Terms(groups=(18,)), draw).replies[0], THREAD)
    began = time.process_time()
    for _ in range(max(2, times // 4)):
        receive(None, request, terms=terms, retained=Retained(), draw=draw)
    spent = (time.process_time() - began) / max(2, times // 4)
    return {"negotiation, a request that leads to nothing, group 18: CPU ms of the gateway": 1000 * spent}
