"""The publisher's side when it is back: the stanza that begins an offline ESession (XEP-0187, "Accepting").

In two steps, because what the sender shows must be judged before its content is looked at: `introduced` proves who
sealed the stanza, `taken` opens it and notes that the negotiation was used. No failure is ever answered.
"""

from dataclasses import dataclass, field, replace

from crypto.errors import PeerFault
from crypto.esession import names
from crypto.esession.forms import Form, FormKind, MalformedForm, read_form
from crypto.esession.identities import ACCEPTED, PublicIdentity, verify
from crypto.esession.keys import DirectionKeys, Encapsulated, identity_mac_fits, key_from_exchange
from crypto.esession.normal_form import CANONICAL, distinct_readings
from crypto.esession.offline_content import Way, opened
from crypto.esession.offline_keys import (
    COUNTER,
    Proof,
    after,
    first_counter,
    options_digest,
    sender_keys,
)
from crypto.esession.offline_options import (
    CHOICES,
    NONCE_LEAST,
    NONCE_MOST,
    OPTIONS,
    PUBLIC_MOST,
    Options,
    OptionSet,
    frequency,
    read_options,
)
from crypto.esession.offline_publishing import MARK, MAX_USES, Shelf
from crypto.esession.offline_refusals import OfflineFlaw, OfflineRefusal
from crypto.esession.payloads import encrypted
from crypto.esession.presented import MAX_PRESENTED, Identification, Presented, read_presented
from crypto.esession.suite import Suite, exchange, kem
from crypto.primitives.ciphers import same, sha256
from crypto.xml import Element, parse

IDENTITY_MOST = MAX_PRESENTED
_MAC_MOST = 64
_KEM_MOST = 4096


def offline_form(stanza: Element) -> Element | None:
    """The `<x/>` of a stanza that begins an offline ESession, by its look; None when it is none.

    An online `<init/>` holds a form of type `result`, so the two are never taken for each other.
    """
    init = stanza.child(names.INIT, "init")
    x = None if init is None else init.child(names.DATA, "x")
    return x if x is not None and x.attribute("type") == FormKind.SUBMIT else None


@dataclass(frozen=True, slots=True)
class Introduction:
    """The sender proved that it holds `identity` and made this form for this set. Is it somebody we know?"""

    identity: PublicIdentity
    certificates: tuple[bytes, ...]
    nonce: bytes
    """N_A: which set it is for."""
    ended: bool
    """Whether the session is over with its first stanza."""
    logging: str | None
    disclosure: str
    stanzas: str
    way: Way = field(repr=False)
    marks: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken."""

    shelf: Shelf = field(repr=False)
    """The sets afterwards: the use is noted. Keep it together with whatever is done with the content."""
    content: tuple[Element, ...] = field(repr=False)
    way: Way | None = field(repr=False)
    """For further stanzas of the session; None when it is over."""


# ---------------------------------------------------------------------------------------------------- who it is
def introduced(x: Element, shelf: Shelf, *, now_ms: int, resource: str) -> Introduction:
    """Verify the form of a stanza that arrived for `resource`. One exponentiation, when a set is found for it.

    Raises OfflineRefusal: MALFORMED, UNKNOWN_OPTIONS, EXPIRED, MISDIRECTED, REPLAYED, USED_UP, UNACCEPTABLE,
    OUT_OF_RANGE, UNPROVED.
    """
    try:
        found = _introduced(x, shelf, now_ms, resource)
    except MalformedForm:
        found = None
    if found is None:
        raise OfflineRefusal(OfflineFlaw.MALFORMED)
    return found


def _introduced(x: Element, shelf: Shelf, now_ms: int, resource: str) -> Introduction:
    form = read_form(x)
    kept = _usable_set(form, shelf, now_ms, resource)
    options = read_options(parse(kept.form))
    suite = _chosen(form, options)
    _require_directed(form, suite, options)
    nonce = form.octets("my_nonce", NONCE_LEAST, NONCE_MOST)
    public, marks = _fresh(kept, suite, form.octets("dhkeys", 1, PUBLIC_MOST), nonce)
    counter = first_counter(form.octets("counter", 1, COUNTER))
    identity, mac = form.octets("identity", 1, IDENTITY_MOST), form.octets("mac", 1, _MAC_MOST)
    keys = sender_keys(suite, _shared(form, kept, suite, public))  # last, since it costs
    if not identity_mac_fits(keys, counter, identity, mac, suite):
        raise OfflineRefusal(OfflineFlaw.UNPROVED)
    shower, presented = _presented(suite.counter_mode(keys.cipher, counter, identity), options)
    _require_signed(presented, shower, Proof(kept.nonce, nonce, public, shower.key_value, x), suite, keys)
    return Introduction(
        identity=shower,
        certificates=presented.certificates,
        nonce=kept.nonce,
        ended=form.says_yes("terminate"),
        logging=form.value("logging"),
        disclosure=form.value("disclosure") or "",
        stanzas=form.value("stanzas") or "",
        way=Way(suite, keys, after(counter, len(identity)), kept.expires_ms),
        marks=marks,
    )


def _usable_set(form: Form, shelf: Shelf, now_ms: int, resource: str) -> OptionSet:
    if form.kind is not FormKind.SUBMIT:
        raise MalformedForm
    kept = shelf.find(form.octets("nonce", NONCE_LEAST, NONCE_MOST))
    if kept is None:
        raise OfflineRefusal(OfflineFlaw.UNKNOWN_OPTIONS)
    if now_ms >= kept.expires_ms or kept not in shelf.tended(now_ms).sets:
        raise OfflineRefusal(OfflineFlaw.EXPIRED)
    if kept.resource is not None and kept.resource != resource:
        raise OfflineRefusal(OfflineFlaw.MISDIRECTED)
    return kept


def _chosen(form: Form, options: Options) -> Suite:
    """The sender's choice, each of what was published. Raises OfflineRefusal (UNACCEPTABLE)."""
    fits = all(form.value(var) in options.choices[var] for var in CHOICES)
    logging = form.value("logging")
    fits = fits and (logging is None or logging in options.choices["logging"])
    fits = fits and frequency(form) >= options.rekey_frequency
    group = form.value("modp") if form.field(names.GROUP) is None else form.value(names.GROUP)
    one_group = (form.field("modp") is None) != (form.field(names.GROUP) is None)
    mechanism = form.value(names.KEM)
    fits = fits and one_group and group in dict(options.groups)
    fits = fits and (mechanism is None or mechanism in dict(options.kems))
    if not fits or group is None:
        raise OfflineRefusal(OfflineFlaw.UNACCEPTABLE)
    return Suite(form.value("crypt_algs") or "", form.value("hash_algs") or "", group, mechanism)


def _require_directed(form: Form, suite: Suite, options: Options) -> None:
    """An answer to somebody else's copy of our public values is not for us (docs/decisions/0094)."""
    if form.field(OPTIONS) is None:
        return  # a sender that knows the XEP only
    if not same(form.octets(OPTIONS, 1, _MAC_MOST), options_digest(suite, options.form)):
        raise OfflineRefusal(OfflineFlaw.MISDIRECTED)


def _fresh(kept: OptionSet, suite: Suite, public: bytes, nonce: bytes) -> tuple[bytes, bytes]:
    """d in its one encoding, and the marks of d and N_B. Raises OfflineRefusal (OUT_OF_RANGE, REPLAYED, USED_UP)."""
    member: bytes | None
    try:
        member = exchange(suite.group).member(public)
    except PeerFault:
        member = None
    if member is None:
        raise OfflineRefusal(OfflineFlaw.OUT_OF_RANGE)
    marks = sha256(b"d", suite.group.encode(), b":", member)[:MARK] + sha256(b"N", nonce)[:MARK]
    known = {kept.used[at : at + MARK] for at in range(0, len(kept.used), MARK)}
    if marks[:MARK] in known or marks[MARK:] in known:
        raise OfflineRefusal(OfflineFlaw.REPLAYED)
    if len(kept.used) >= 2 * MARK * MAX_USES:
        raise OfflineRefusal(OfflineFlaw.USED_UP)
    return member, marks


def _shared(form: Form, kept: OptionSet, suite: Suite, public: bytes) -> bytes:
    """K. Raises OfflineRefusal (OUT_OF_RANGE)."""
    secret = next(s.secret for s in kept.secrets if s.group == suite.group)
    found: bytes | None
    try:
        encapsulated = _decapsulated(form, kept, suite)
        found = key_from_exchange(exchange(suite.group).shared(public, secret), suite, encapsulated)
    except PeerFault as fault:  # NotAMember, NotAKemValue; a malformed field is a malformed field
        if isinstance(fault, MalformedForm):
            raise
        found = None
    if found is None:
        raise OfflineRefusal(OfflineFlaw.OUT_OF_RANGE)
    return found


def _decapsulated(form: Form, kept: OptionSet, suite: Suite) -> Encapsulated | None:
    if suite.kem is None:
        return None
    mechanism = kem(suite.kem)
    secret = next(s.secret for s in kept.kem_secrets if s.group == suite.kem)
    ciphertext = form.octets(names.KEM_KEYS, 1, _KEM_MOST)
    return Encapsulated(mechanism.decapsulate(secret, ciphertext), mechanism.keypair(secret)[1], ciphertext)


def _presented(shown: bytes, options: Options) -> tuple[PublicIdentity, Presented]:
    """What the sender presented; nothing of it is proved. Raises OfflineRefusal (UNPROVED)."""
    accepted = {a for a in ACCEPTED if a.value in options.choices["sign_algs"]}
    presented: Presented | None
    try:
        presented = read_presented(shown, Identification.KEY, accepted=accepted)
    except PeerFault:
        presented = None
    if presented is None or presented.public is None:
        raise OfflineRefusal(OfflineFlaw.UNPROVED)
    return presented.public, presented


def _require_signed(
    presented: Presented, public: PublicIdentity, proof: Proof, suite: Suite, keys: DirectionKeys
) -> None:
    """mac_B is signed with the key that was presented, under one of the readings. Raises OfflineRefusal (UNPROVED)."""
    for reading in dict.fromkeys((CANONICAL, *distinct_readings(proof.form))):
        try:
            verify(public, proof.mac(suite, keys, reading), presented.signature)
        except PeerFault:
            continue
        return
    raise OfflineRefusal(OfflineFlaw.UNPROVED)


# ---------------------------------------------------------------------------------------------------- what it says
def taken(introduction: Introduction, shelf: Shelf, stanza: Element, *, now_ms: int) -> Taken:
    """Open the content that came with it. `shelf`: the one that the introduction was made with.

    When it returns, this negotiation will not be accepted again. Raises OfflineRefusal (CONTENT, EXPIRED); then
    nothing has changed.
    """
    kept = shelf.find(introduction.nonce)
    if kept is None:
        raise OfflineRefusal(OfflineFlaw.UNKNOWN_OPTIONS)
    c = encrypted(stanza)
    way, content = (introduction.way, ()) if c is None else opened(introduction.way, c, now_ms=now_ms)
    noted = shelf.with_set(replace(kept, used=kept.used + introduction.marks))
    return Taken(noted, content, None if introduction.ended else way)
