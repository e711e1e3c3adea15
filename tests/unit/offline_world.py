"""A publisher and a sender of offline ESessions, for tests: Alice is away, Bob writes to her."""

import hashlib
from dataclasses import dataclass, field, replace

from crypto.esession.identities import Identity, PublicIdentity
from crypto.esession.offline_accepting import Introduction, Taken, introduced, offline_form, taken
from crypto.esession.offline_options import Audience, Offer, Options, OptionSet, read_options
from crypto.esession.offline_publishing import LIFETIME_MS, Lifetime, Shelf, publish
from crypto.esession.offline_sending import Begun, begin, choose, require_current, require_signed
from crypto.xml import Element, parse, serialize
from tests.unit.esession_keys import ed25519

NOW = 1_800_000_000_000
ALICE = "alice@example.org"
PLAIN = Offer(groups=("14",), kems=(), ciphers=("aes128-ctr",), hashes=("sha256",))
"""What the XEP itself knows."""
FAST = Offer(groups=("x25519",))
BODY = b"<body>Hello, Alice!</body>"


@dataclass
class Dice:
    """Not random at all, but different each time."""

    seed: str
    drawn: int = 0

    def __call__(self, name: str, size: int) -> bytes:
        """The next octets."""
        self.drawn += 1
        return hashlib.shake_128(f"{self.seed}/{self.drawn}/{name}".encode()).digest(size)


@dataclass
class Publisher:
    """Alice: publishes, goes away, comes back."""

    identity: Identity = field(default_factory=lambda: ed25519("alice"))
    shelf: Shelf = field(default_factory=Shelf)
    resource: str = "pda"
    dice: Dice = field(default_factory=lambda: Dice("alice"))

    def publish(
        self,
        offer: Offer = FAST,
        *,
        now_ms: int = NOW,
        audience: Audience = Audience.EVERYONE,
        match: bool = False,
        jid: str | None = ALICE,
    ) -> Element:
        """A new set on the shelf; the form as others get it."""
        kept, form = publish(
            offer,
            (self.identity,),
            Lifetime(now_ms, now_ms + LIFETIME_MS),
            self.dice,
            audience=audience,
            resource=self.resource if match else None,
            publisher=jid,
        )
        self.shelf = self.shelf.with_set(kept)
        return parse(serialize(form))

    @property
    def newest(self) -> OptionSet:
        """The set that was published last."""
        return self.shelf.sets[-1]

    def introduced(self, stanza: Element, *, now_ms: int = NOW, resource: str | None = None) -> Introduction:
        """Who a stanza is from."""
        x = offline_form(stanza)
        assert x is not None
        return introduced(x, self.shelf, now_ms=now_ms, resource=self.resource if resource is None else resource)

    def take(self, stanza: Element, *, now_ms: int = NOW, resource: str | None = None) -> Taken:
        """Open it; what was used is noted."""
        found = taken(self.introduced(stanza, now_ms=now_ms, resource=resource), self.shelf, stanza, now_ms=now_ms)
        self.shelf = found.shelf
        return found


@dataclass
class Sender:
    """Bob: finds options, judges them, writes."""

    identity: Identity = field(default_factory=lambda: ed25519("bob"))
    known: tuple[PublicIdentity, ...] = field(default_factory=lambda: (ed25519("alice").public,))
    offer: Offer = FAST
    dice: Dice = field(default_factory=lambda: Dice("bob"))

    def judged(self, form: Element, *, now_ms: int = NOW, publisher: str = ALICE) -> Options:
        """Options that may be used."""
        options = read_options(form)
        require_current(options, now_ms=now_ms, publisher=publisher)
        require_signed(options, self.known)
        return options

    def write(self, form: Element, body: bytes = BODY, *, now_ms: int = NOW, once: bool = True) -> Begun:
        """Seal content to options."""
        options = self.judged(form, now_ms=now_ms)
        chosen = choose(options, self.offer, self.identity.public)
        return begin(options, chosen, self.identity, body, self.dice, now_ms=now_ms, once=once)


def message(begun: Begun) -> Element:
    """The stanza, as it arrives."""
    return parse(b"<message xmlns='jabber:client'>" + begun.init + begun.content + b"</message>")


def follow_up(c: bytes) -> Element:
    """The `<c/>` of a further stanza."""
    return parse(c)


def with_field(form: Element, var: str, *values: str) -> Element:
    """The form with another value in one field (or another field, when there is none of that name)."""
    made = Element(
        form.namespace,
        "field",
        (("var", var),),
        tuple(Element(form.namespace, "value", (), (value,)) for value in values),
    )
    rest = [e for e in form.elements if e.attribute("var") != var]
    at = next((n for n, e in enumerate(form.elements) if e.attribute("var") == var), len(rest))
    return replace(form, children=(*rest[:at], made, *rest[at:]))


def without_field(form: Element, var: str) -> Element:
    """The form without one field."""
    return replace(form, children=tuple(e for e in form.elements if e.attribute("var") != var))


def with_form(stanza: Element, form: Element) -> Element:
    """The stanza with another form in its `<init/>`."""
    init = stanza.elements[0]
    return replace(stanza, children=(replace(init, children=(form,)), *stanza.elements[1:]))
