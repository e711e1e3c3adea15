"""How many negotiations may be begun with us, and how fast: each answer costs modular exponentiations (decision 0097).

`pace` is a record of the account. Every resource that is known has a share of its own, so that neither another
resource nor requests under invented names can use up what it needs; beyond its share, and for names that nobody has
heard of, one bucket serves the whole account.
"""

from dataclasses import dataclass

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_state import MAX_HALF_OPEN_IN_ACCOUNT, Leg, mark_of
from adapters.xmpp.names import NS_DATA_FORM, NS_FEATURE_NEG, Resources
from crypto.esession.conversation import Conversation
from crypto.esession.names import GROUP_KEYS
from crypto.esession.rekeying_state import Rekeying
from crypto.xml import Element

_ONE = 1000
_SHARED = 20 * _ONE
"""At once; one more comes back each second."""
_SHARE = 5 * _ONE
"""At once, of one known resource; one more comes back in four seconds."""
_SHARE_MS = 4
_SHARES = 8


@dataclass(frozen=True, slots=True)
class Share:
    """The bucket of one resource."""

    mark: str
    left_thousandths: int
    at_ms: int

    def left(self, now_ms: int) -> int:
        """What is in it by now."""
        return min(_SHARE, self.left_thousandths + max(0, now_ms - self.at_ms) // _SHARE_MS)


@dataclass(frozen=True, slots=True)
class Pace:
    """Buckets of answers to requests, in thousandths of an answer to a 4-message request."""

    left_thousandths: int = _SHARED
    at_ms: int = 0
    shares: tuple[Share, ...] = ()
    """The most recently used last."""

    def used(self, now_ms: int, *, known: str | None = None, answers: int = 1) -> "Pace | None":
        """After so many answers at once to the resource of that mark; None when none is left."""
        cost = answers * _ONE
        # Only a share that is whole again may be forgotten: else it would come back whole, at once and for ever.
        shares = tuple(s for s in self.shares if s.left(now_ms) < _SHARE or s.mark == known)
        own = next((s for s in shares if s.mark == known), None)
        if known is not None and (own is not None or len(shares) < _SHARES):
            left = _SHARE if own is None else own.left(now_ms)
            if left >= cost:
                others = tuple(s for s in shares if s is not own)
                return Pace(self.left_thousandths, self.at_ms, (*others, Share(known, left - cost, now_ms)))
        left = min(_SHARED, self.left_thousandths + max(0, now_ms - self.at_ms))
        return None if left < cost else Pace(left - cost, now_ms, self.shares)


def may_answer(at: LegStep, stanza: Element, peer: str) -> bool:
    """Whether this request may be answered; one beyond the limits gets an error, the client may try later."""
    if at.policy.closed:
        at.error(peer, stanza.attribute("id"), "policy-malformed")
        return False
    known = _known(at, peer)
    code = "half-open-too-many"
    # Known resources are few, and each has a limit of its own: others cannot keep them out by beginning many.
    if known is not None or _half_open(at) < MAX_HALF_OPEN_IN_ACCOUNT:
        pace = at.step.records.get("pace", Pace) or Pace()
        after = pace.used(at.step.now_ms(), known=known, answers=_answers(stanza))
        if after is not None:
            at.step.records.put("pace", after)
            return True
        code = "request-too-many"
    at.report(code)
    at.error(peer, stanza.attribute("id"), "busy")
    return False


def rekeys_too_often(at: LegStep, before: Conversation | None, after: Conversation | None, peer: str) -> bool:
    """Whether a `<key/>` came that the peer may not have: each costs an exponentiation.

    One in sixteen stanzas is free, and the first twenty, which is more than any sensible client wants; those beyond
    are paid for as requests are (docs/decisions/0090).
    """
    known, state = _rekeying(before), _rekeying(after)
    if known is None or state is None or state.received == known.received or 16 * (state.received - 20) <= state.total:
        return False
    pace = at.step.records.get("pace", Pace) or Pace()
    paid = pace.used(at.step.now_ms(), known=_known(at, peer))
    if paid is None:
        at.report("rekey-too-many")
        return True
    at.step.records.put("pace", paid)
    return False


def _rekeying(conversation: Conversation | None) -> Rekeying | None:
    session = None if conversation is None else conversation.session
    return None if session is None else session.rekeying


def may_open(at: LegStep, stanza: Element, peer: str) -> bool:
    """Whether a stanza may be tried that costs an exponentiation before it proves anything (XEP-0187).

    Only those that were in vain are counted, by `wasted`: who proves the user's key may send as many as there are.
    """
    pace = at.step.records.get("pace", Pace) or Pace()
    if pace.used(at.step.now_ms(), known=_known(at, peer)) is not None:
        return True
    at.report("offline-too-many")
    at.error(peer, stanza.attribute("id"), "busy")
    return False


def wasted(at: LegStep, peer: str) -> None:
    """An exponentiation was spent on somebody who proved nothing."""
    pace = at.step.records.get("pace", Pace) or Pace()
    after = pace.used(at.step.now_ms(), known=_known(at, peer))
    if after is not None:
        at.step.records.put("pace", after)


def _known(at: LegStep, peer: str) -> str | None:
    """The mark of a resource whose presence is known, or with which there is a session."""
    resources = at.step.records.get("resources", Resources)
    present = resources is not None and any(jid == peer for jid, _ in resources.available)
    return mark_of(peer) if present or at.leg.of_peer(peer) is not None else None


def _answers(stanza: Element) -> int:
    """A 3-message request names its keys at once: answering it costs both exponentiations together (XEP-0116, 7)."""
    feature = stanza.child(NS_FEATURE_NEG, "feature")
    x = None if feature is None else feature.child(NS_DATA_FORM, "x")
    named = () if x is None else tuple(e.attribute("var") for e in x.elements)
    return 2 if "dhkeys" in named or GROUP_KEYS in named else 1


def _half_open(at: LegStep) -> int:
    """Negotiations of the account that we answered and that are not completed."""
    records = at.step.records
    legs = (records.get(name, Leg) for name in records.names("leg/") if name != f"leg/{at.contact.id}")
    return sum(half_open(leg) for leg in (at.leg, *legs) if leg is not None)


def half_open(leg: Leg) -> int:
    """Those of one contact."""
    return sum(not (t.active or t.closing or t.ours) for t in leg.talks)
