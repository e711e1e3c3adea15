"""Offline ESessions with the user (XEP-0187): each contact's published options, and stanzas that were sealed to them.

`offline/CONTACT`             Shelf       the option sets whose secrets exist (crypto.esession)
`offline-own/CONTACT`         Published   what is published now
`offline-in/CONTACT/THREAD`   Incoming    a session that went on after its first stanza

Contacts are never offline to the user while the gateway runs, so they publish the set for everybody, and no set for
the time of their absence (docs/decisions/0095).
"""

from dataclasses import dataclass, field

from adapters.inside_api import AnyValue
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_limits import may_open, wasted
from adapters.xmpp.names import address_of
from adapters.xmpp.pep.names import OPTIONS, PUBKEY, PUBLISH, RETRACT
from bridge.wire.values import Code, Opaque, Public
from crypto.esession.conversation import thread_of
from crypto.esession.identities import Identity, PublicIdentity
from crypto.esession.offline_accepting import introduced, offline_form, taken
from crypto.esession.offline_content import Way, ends, opened
from crypto.esession.offline_options import Audience, Offer
from crypto.esession.offline_pubkeys import write_pubkey
from crypto.esession.offline_publishing import LIFETIME_MS, MAX_USES, Lifetime, Shelf, publish, uses
from crypto.esession.offline_refusals import OfflineFlaw, OfflineRefusal
from crypto.esession.offline_time import DAY_MS
from crypto.esession.payloads import encrypted
from crypto.xml import CLIENT, Element, serialize

ROTATE_MS = DAY_MS
"""After this a new set takes the place of the published one, which is kept for what is on its way until it expires."""
KEY_LIFETIME_MS = 30 * DAY_MS
"""The published key (XEP-0189) is renewed with every set."""
MAX_INCOMING = 4
ITEM = "current"
_NO_THREAD = "offline"
_DEAR = frozenset({OfflineFlaw.UNPROVED, OfflineFlaw.CONTENT})
"""What is found out by computing only (decision 0097)."""


@dataclass(frozen=True, slots=True)
class OfflinePolicy:
    """What the operator's map says about offline sessions of one contact, and the keys it takes.

    `identity`: the contact's own signing key. Each contact has its own: with one key for several, a server could hand
    what was sealed for one of them to another.
    """

    identity: Identity | None = field(default=None, repr=False)
    trusted: tuple[PublicIdentity, ...] = ()
    """Public keys that are the user's beyond doubt: others neither sign options nor send."""
    offer: Offer = field(default_factory=Offer)
    publishes: bool = True
    sends: bool = True
    others: tuple[Identity, ...] = field(default=(), repr=False)
    """Further keys of the contact's, of other algorithms, for clients that do not know the first's."""

    @property
    def identities(self) -> tuple[Identity, ...]:
        """The contact's keys, the best first."""
        return () if self.identity is None else (self.identity, *self.others)

    @property
    def able(self) -> bool:
        """Whether there are keys for it: without, offline sessions cannot be."""
        return self.identity is not None and bool(self.trusted)


@dataclass(frozen=True, slots=True)
class Published:
    """The set that the contact's PEP node holds."""

    nonce: bytes
    signer: bytes
    """Fingerprint of the key that signed it."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A session that the user's client began while it took us to be offline, and goes on with."""

    way: Way = field(repr=False)
    peer: str


@dataclass(frozen=True, slots=True)
class Received:
    """What an offline stanza held."""

    content: tuple[Element, ...] = field(repr=False)
    thread: str


# ---------------------------------------------------------------- our options
def renew(at: LegStep, policy: OfflinePolicy, *, resumed: bool = True) -> None:
    """Destroy what has expired; publish a new set when there is none, or the published one has served its time.

    Without `resumed` the state may be older than what was accepted by it: every set goes, so that nothing that was
    accepted can be accepted again.
    """
    now = at.step.now_ms()
    shelf = at.step.records.get(_shelf(at), Shelf) or Shelf()
    kept = shelf.tended(now) if resumed else Shelf()
    if kept != shelf:
        at.report("offline-set-destroyed")
        _keep_shelf(at, kept)
    _tend_incoming(at, now, resumed=resumed)
    published = at.step.records.get(_own(at), Published)
    if policy.publishes and policy.able:
        if not _still_good(kept, published, policy, now):
            _publish(at, policy, kept)
    elif published is not None:
        at.step.records.delete(_own(at))
        _keep_shelf(at, Shelf())
        for node in (OPTIONS, PUBKEY):
            at.step.carry(RETRACT, {"from": address_of(at.contact.alias), "node": Code(v=node)}, lane=at.lane)


def _still_good(shelf: Shelf, published: Published | None, policy: OfflinePolicy, now_ms: int) -> bool:
    assert policy.identity is not None
    if published is None or published.signer != policy.identity.public.fingerprint():
        return False
    current = shelf.find(published.nonce)
    return current is not None and now_ms < current.published_ms + ROTATE_MS and uses(current) < MAX_USES // 2


def _publish(at: LegStep, policy: OfflinePolicy, shelf: Shelf) -> None:
    assert policy.identity is not None
    now = at.step.now_ms()
    lifetime = Lifetime(now, now + LIFETIME_MS)
    made, form = publish(policy.offer, policy.identities, lifetime, at.step.draw, publisher=at.contact.alias)
    _keep_shelf(at, shelf.with_set(made))
    at.step.records.put(_own(at), Published(made.nonce, policy.identity.public.fingerprint()))
    end_ms = now + KEY_LIFETIME_MS
    _carry(at, PUBKEY, write_pubkey(policy.identity.public, at.contact.alias, begin_ms=now, end_ms=end_ms))
    _carry(at, OPTIONS, form)
    at.report("offline-set-published")


def _carry(at: LegStep, node: str, item: Element) -> None:
    values: dict[str, AnyValue] = {
        "from": address_of(at.contact.alias),
        "node": Code(v=node),
        "item": Opaque(v=ITEM),
        "content": Public(v=serialize(item)),
    }
    at.step.carry(PUBLISH, values, lane=at.lane)


def offline_due_ms(at: LegStep) -> int:
    """When `renew` has something to do; 0: never."""
    shelf = at.step.records.get(_shelf(at), Shelf)
    if shelf is None:
        return 0
    newest = shelf.newest(Audience.EVERYONE)
    times = [shelf.next_due_ms(), newest.published_ms + ROTATE_MS if newest else 0]
    return min((t for t in times if t), default=0)


# ---------------------------------------------------------------- what the user sealed to them
def is_offline(stanza: Element) -> bool:
    """Whether a stanza begins an offline session, by its look."""
    return offline_form(stanza) is not None


def receive_offline(at: LegStep, stanza: Element, peer: str, policy: OfflinePolicy) -> Received | None:
    """A stanza that begins an offline session from the user's resource `peer`: what it holds, None when it is refused.

    The user's client is told of a refusal by an error stanza, which XEP-0187 would rather not have: it hides that the
    publisher is there, which a contact of a gateway always is, and a message must not vanish.
    """
    x = offline_form(stanza)
    shelf = at.step.records.get(_shelf(at), Shelf) or Shelf()
    resource = (stanza.attribute("to") or "").partition("/")[2]
    now = at.step.now_ms()
    if not may_open(at, stanza, peer):
        return None
    try:
        assert x is not None
        introduction = introduced(x, shelf, now_ms=now, resource=resource)
        if introduction.identity not in policy.trusted:
            wasted(at, peer)
            at.report("offline-key-unknown")
            at.error(peer, stanza.attribute("id"), "not-verified")
            return None
        if policy.offer.require_hybrid and introduction.way.suite.kem is None:
            raise OfflineRefusal(OfflineFlaw.UNACCEPTABLE)
        found = taken(introduction, shelf, stanza, now_ms=now)
    except OfflineRefusal as refusal:
        if refusal.flaw in _DEAR:
            wasted(at, peer)
        _refused(at, stanza, peer, refusal.flaw)
        return None
    at.report("offline-taken")
    _keep_shelf(at, found.shelf)
    thread = thread_of(stanza) or _NO_THREAD
    if found.way is not None and thread != _NO_THREAD:
        _keep_incoming(at, thread, Incoming(found.way, peer))
    return Received(found.content, thread)


def receive_more(at: LegStep, stanza: Element, peer: str) -> Received | None:
    """A further stanza of an offline session; None when there is no such session, or the stanza is refused."""
    thread, c = thread_of(stanza) or "", encrypted(stanza)
    known = at.step.records.get(_incoming(at, thread), Incoming)
    if known is None or c is None or known.peer != peer:
        return None
    try:
        way, content = opened(known.way, c, now_ms=at.step.now_ms())
    except OfflineRefusal as refusal:
        if refusal.flaw is not OfflineFlaw.REPLAYED:
            at.step.records.delete(_incoming(at, thread))
        _refused(at, stanza, peer, refusal.flaw)
        return None
    if ends(content):
        at.step.records.delete(_incoming(at, thread))
    else:
        at.step.records.put(_incoming(at, thread), Incoming(way, peer))
    return Received(content, thread)


def has_offline(at: LegStep, thread: str | None) -> bool:
    """Whether there is an offline session of that thread."""
    return at.step.records.get(_incoming(at, thread or ""), Incoming) is not None


def _refused(at: LegStep, stanza: Element, peer: str, flaw: OfflineFlaw) -> None:
    at.report(f"offline-{flaw.value}")
    at.step.trace(at.step.position, "refused", "unreadable")
    # A repetition was taken before, and answered then.
    if flaw is not OfflineFlaw.REPLAYED and stanza.namespace == CLIENT:
        at.error(peer, stanza.attribute("id"), "unreadable")


# ---------------------------------------------------------------- records
def _shelf(at: LegStep) -> str:
    return f"offline/{at.contact.id}"


def _own(at: LegStep) -> str:
    return f"offline-own/{at.contact.id}"


def _incoming(at: LegStep, thread: str) -> str:
    return f"offline-in/{at.contact.id}/{thread}"


def _keep_shelf(at: LegStep, shelf: Shelf) -> None:
    if shelf.sets:
        at.step.records.put(_shelf(at), shelf)
    else:
        at.step.records.delete(_shelf(at))


def _keep_incoming(at: LegStep, thread: str, incoming: Incoming) -> None:
    others = [name for name in at.step.records.names(_incoming(at, "")) if name != _incoming(at, thread)]
    for name in others[: max(0, len(others) - MAX_INCOMING + 1)]:
        at.step.records.delete(name)
    at.step.records.put(_incoming(at, thread), incoming)


def _tend_incoming(at: LegStep, now_ms: int, *, resumed: bool) -> None:
    for name in list(at.step.records.names(_incoming(at, ""))):
        incoming = at.step.records.get(name, Incoming)
        if not resumed or incoming is None or incoming.way.expires_ms <= now_ms:
            at.step.records.delete(name)
