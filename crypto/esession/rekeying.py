"""New keys for a running session (XEP-0200, "Re-Key Exchange"): making them, accepting them, destroying the old ones.

Either end draws a new secret x, sends g^x in a `<key/>`, and computes K from it and the newest public value of the
other. The other computes K from the received value and *the secret whose public value the first one had*: it finds out
which that is by the number in `<new/>`. So each end keeps, beside the newest, the secrets that may still be referred
to, with the receiving keys that belong to them: XEP-0200's sets of values, here the receiving direction with
`Rekeying.secret` (the oldest set) and `Rekeying.newer`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from crypto.esession.faults import BadStanza, UnusableStanza
from crypto.esession.rekeying_state import KeySet, Rekeying, RekeyPolicy, RetiredKey
from crypto.esession.session import ReceivingDirection, SendingDirection, Session
from crypto.esession.suite import NotAMember, Suite, exchange

Draw = Callable[[str, int], bytes]
"""Gives so many octets of randomness for a named purpose."""
DRAW = "esession-rekey"
_KEPT = 64
"""MAC keys that wait to be published; the oldest beyond them are destroyed unpublished."""


@dataclass(frozen=True, slots=True)
class NewKeys:
    """What K gives: for the one that sent the `<key/>` (the initiator of this re-keying) and for the acceptor."""

    initiator_cipher: bytes = field(repr=False)
    initiator_mac: bytes = field(repr=False)
    acceptor_cipher: bytes = field(repr=False)
    acceptor_mac: bytes = field(repr=False)


def mixed_of(suite: Suite, final_key: bytes) -> bytes:
    """What goes into the later keys of a hybrid session, from the final K of its negotiation: as long as a hash."""
    return suite.hmac(final_key, b"Rekey Hybrid Secret")


def new_keys(suite: Suite, shared: bytes, mixed: bytes | None, cipher_octets: int, mac_octets: int) -> NewKeys:
    """The keys of K: `shared` is the Diffie-Hellman result, known to both ends only.

    Each key is taken from the end of its HMAC and is as long as the one before it. In a hybrid session K is the HMAC of
    the result under `mixed`.
    """
    k = shared if mixed is None else suite.hmac(mixed, shared)
    return NewKeys(
        suite.hmac(k, b"Rekey Initiator Crypt")[-cipher_octets:],
        suite.hmac(k, b"Rekey Initiator MAC")[-mac_octets:],
        suite.hmac(k, b"Rekey Acceptor Crypt")[-cipher_octets:],
        suite.hmac(k, b"Rekey Acceptor MAC")[-mac_octets:],
    )


# ---------------------------------------------------------------------------------------------------- when
def is_due(session: Session, now_ms: int, policy: RekeyPolicy) -> bool:
    """Whether our next stanza should hold a `<key/>`, and may."""
    state = session.rekeying
    if state is None or not may_rekey(state, policy):
        return False
    if state.exchanged + 1 >= policy.stanzas or session.sending.blocks + session.receiving.blocks >= policy.blocks:
        return True
    return is_old(state, now_ms, policy)


def may_rekey(state: Rekeying, policy: RekeyPolicy) -> bool:
    """Whether the agreed frequency and the number of unanswered `<key/>` allow another."""
    return state.exchanged + 1 >= state.frequency and len(state.newer) < policy.outstanding


def is_old(state: Rekeying, now_ms: int, policy: RekeyPolicy) -> bool:
    """Whether content was exchanged since our last `<key/>`, and that is long ago."""
    return bool(state.contents and state.since_ms and now_ms - state.since_ms >= policy.interval_ms)


def without_expired(session: Session, now_ms: int, policy: RekeyPolicy) -> Session:
    """The session without the sets of values that have waited for an answer to a later `<key/>` for too long."""
    state = session.rekeying
    if state is None or not state.newer or now_ms <= 0:
        return session
    over = [i for i, s in enumerate(state.newer) if s.sent_ms and now_ms - s.sent_ms >= policy.grace_ms]
    if not over:
        return session
    oldest = state.newer[over[-1]]
    receiving = _under(session.receiving, oldest)
    after = replace(state, secret=oldest.secret, newer=state.newer[over[-1] + 1 :])
    return replace(session, receiving=receiving, rekeying=after)


def _under(way: ReceivingDirection, keys: KeySet) -> ReceivingDirection:
    """The direction with the keys of a set; an acceptance may have put the same keys into all of them."""
    if keys.cipher_key == way.cipher_key:
        return way
    return replace(way, cipher_key=keys.cipher_key, mac_key=keys.mac_key, blocks=0)


# ---------------------------------------------------------------------------------------------------- initiation
def initiated(session: Session, draw: Draw, now_ms: int) -> tuple[Session, bytes]:
    """New keys of ours: the session for the stanzas *after* the one with the `<key/>`, and what that holds.

    The stanza itself is still sealed with the keys of `session`. The old sending keys are gone from the result; the old
    secret and the keys for receiving stay until the peer has shown that it holds the new ones, or time has passed.
    """
    state, way = session.rekeying, session.sending
    assert state is not None
    suite = session.agreed.suite
    group = exchange(suite.group)
    secret = group.secret(draw(DRAW, group.draw_octets))
    keys = new_keys(suite, group.shared(state.peer_public, secret), state.mixed, len(way.cipher_key), len(way.mac_key))
    number = state.sent + 1
    after = replace(
        state,
        newer=(*state.newer, KeySet(secret, keys.acceptor_cipher, keys.acceptor_mac, now_ms)),
        sent=number,
        exchanged=0,
        contents=0,
        since_ms=now_ms,
        retired=(*state.retired, RetiredKey(way.mac_key, number))[-_KEPT:],
    )
    sending = SendingDirection(keys.initiator_cipher, keys.initiator_mac, way.counter)
    return replace(session, sending=sending, rekeying=after), group.public(secret)


# ---------------------------------------------------------------------------------------------------- the peer's view
def selected(state: Rekeying, way: ReceivingDirection, new: int) -> tuple[Rekeying, ReceivingDirection] | None:
    """The set of values that a stanza with this count was made with, the older ones destroyed.

    None when the peer counts more `<key/>` than it can have received, or ones whose values are destroyed. Nothing is
    authentic yet: the result counts only when the stanza's MAC fits.
    """
    number = state.confirmed + new
    place = number - state.oldest
    if number > state.sent or place < 0:
        return None
    retired = tuple(key for key in state.retired if key.safe_at > number)
    safe = tuple(key.mac_key for key in state.retired if key.safe_at <= number)
    if place:
        chosen = state.newer[place - 1]
        before, way = way.mac_key, _under(way, chosen)
        newer = state.newer[place:]
        safe += () if before == way.mac_key else (before,)
        state = replace(state, secret=chosen.secret, newer=newer)
    published = (*state.publishable, *safe)[-_KEPT:]
    return replace(state, confirmed=number, retired=retired, publishable=published), way


# ---------------------------------------------------------------------------------------------------- acceptance
def accepted(
    suite: Suite, state: Rekeying, way: ReceivingDirection, public: bytes
) -> tuple[Rekeying, ReceivingDirection, NewKeys]:
    """New keys of the peer's, from an authentic stanza. The caller takes the acceptor's keys if `newer` is empty.

    Raises UnusableStanza for a value that is none, and for one that comes more often than was agreed.
    """
    if state.confirmed < state.oldest:
        raise UnusableStanza(BadStanza.EXPIRED)
    if state.received * state.frequency > state.total + 1:
        raise UnusableStanza(BadStanza.REKEYED_TOO_OFTEN)
    group = exchange(suite.group)
    shared = None
    try:
        public = group.member(public)
        shared = group.shared(public, state.secret)
    except NotAMember:
        shared = None
    if shared is None:
        raise UnusableStanza(BadStanza.PUBLIC_VALUE)
    keys = new_keys(suite, shared, state.mixed, len(way.cipher_key), len(way.mac_key))
    newer = tuple(replace(each, cipher_key=keys.initiator_cipher, mac_key=keys.initiator_mac) for each in state.newer)
    after = replace(
        state,
        peer_public=public,
        newer=newer,
        received=state.received + 1,
        untold=state.untold + 1,
        publishable=(*state.publishable, way.mac_key)[-_KEPT:],
    )
    receiving = replace(way, cipher_key=keys.initiator_cipher, mac_key=keys.initiator_mac, blocks=0)
    return after, receiving, keys


def accepting(session: Session, keys: NewKeys) -> Session:
    """The session sending with the acceptor's keys from now on: no `<key/>` of ours is on its way."""
    state, way = session.rekeying, session.sending
    assert state is not None
    retired = (*state.retired, RetiredKey(way.mac_key, state.sent + 1))[-_KEPT:]
    sending = SendingDirection(keys.acceptor_cipher, keys.acceptor_mac, way.counter)
    return replace(session, sending=sending, rekeying=replace(state, retired=retired))
