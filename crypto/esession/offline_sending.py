"""The sender's side: judging a publisher's options, and the one stanza that begins an offline ESession (XEP-0187).

The sender has the responder's part of a 3-message negotiation. After its stanza the negotiation is complete: nothing
is ever sent back. Times are milliseconds since 1970.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from crypto.errors import PeerFault
from crypto.esession import names, payloads
from crypto.esession.forms import FormKind, base64, write_answer, write_form
from crypto.esession.identities import Identity, PublicIdentity, SignatureInvalid, verify
from crypto.esession.keys import DirectionKeys, Encapsulated, identity_mac, key_from_exchange
from crypto.esession.normal_form import distinct_readings, normal_form
from crypto.esession.offline_content import Way, created, sealed
from crypto.esession.offline_keys import (
    COUNTER,
    Proof,
    after,
    first_counter,
    options_digest,
    sender_keys,
)
from crypto.esession.offline_options import OPTIONS, SIGNATURES, Offer, Options
from crypto.esession.offline_publishing import NONCE, SKEW_MS, Draw
from crypto.esession.offline_refusals import OfflineFlaw, OfflineRefusal
from crypto.esession.offline_time import DAY_MS
from crypto.esession.presented import Identification, present
from crypto.esession.suite import Suite, exchange, kem
from crypto.primitives.integers import from_octets, mpi
from crypto.xml import Element

LONGEST_MS = 92 * DAY_MS
"""Options that promise to live longer are not believed: the longer they live, the more a stolen secret opens."""


# ---------------------------------------------------------------------------------------------------- judging
def require_current(options: Options, *, now_ms: int, publisher: str) -> None:
    """Refuse options that have expired, are about to, live absurdly long, or say that they are another's.

    `publisher`: the bare JID that was asked. Raises OfflineRefusal (EXPIRED, MISDIRECTED).
    """
    if not now_ms + SKEW_MS < options.expires_ms <= now_ms + LONGEST_MS:
        raise OfflineRefusal(OfflineFlaw.EXPIRED)
    if options.publisher is not None and options.publisher.lower() != publisher.lower():
        raise OfflineRefusal(OfflineFlaw.MISDIRECTED)


def require_signed(options: Options, known: Sequence[PublicIdentity]) -> PublicIdentity:
    """The key, of those known to be the publisher's, that signed the options.

    When it returns, the holder of that key published exactly this form. Raises OfflineRefusal (UNSIGNED).
    """
    contents = [normal_form(options.form, r, without={SIGNATURES}) for r in distinct_readings(options.form)]
    for public in known:
        for signature in options.signatures:
            for content in contents:
                if _signed(public, content, signature):
                    return public
    raise OfflineRefusal(OfflineFlaw.UNSIGNED)


def _signed(public: PublicIdentity, content: bytes, signature: bytes) -> bool:
    """Whether it is that key's signature; the caller raises when none is."""
    try:
        verify(public, content, signature)
    except SignatureInvalid:
        return False
    return True


# ---------------------------------------------------------------------------------------------------- choosing
@dataclass(frozen=True, slots=True)
class Chosen:
    """One option of each field, the publisher's first that is ours too."""

    suite: Suite
    public: bytes
    """e of the group."""
    kem_key: bytes | None
    answers: tuple[tuple[str, str], ...]
    """The other fields of the answer, in order."""


def choose(options: Options, offer: Offer, identity: PublicIdentity) -> Chosen:
    """What to use of the options. Raises OfflineRefusal (UNACCEPTABLE): then nothing may be sent."""
    own = {
        "disclosure": offer.disclosure,
        "security": ("e2e",),
        "crypt_algs": offer.ciphers,
        "hash_algs": offer.hashes,
        "sign_algs": (identity.algorithm.value,),
        "compress": ("none",),
        "stanzas": offer.stanzas,
        "ver": names.VERSIONS,
    }
    chosen = {var: next((o for o in options.choices[var] if o in mine), None) for var, mine in own.items()}
    group = next((pair for pair in options.groups if pair[0] in offer.groups), None)
    mechanism = next((pair for pair in options.kems if pair[0] in offer.kems), None)
    logged = options.choices["logging"]
    logging = next((o for o in logged if o in offer.logging), None)
    lacking = offer.require_hybrid and mechanism is None
    if group is None or lacking or (logged and logging is None) or None in chosen.values():
        raise OfflineRefusal(OfflineFlaw.UNACCEPTABLE)
    values = {var: value for var, value in chosen.items() if value is not None}
    suite = Suite(values["crypt_algs"], values["hash_algs"], group[0], mechanism[0] if mechanism else None)
    answers = (("logging", logging),) if logging is not None else ()
    frequency = ("rekey_freq", str(names.REKEY_FREQUENCY))
    kem_key = mechanism[1] if mechanism else None
    return Chosen(suite, group[1], kem_key, (*answers, *values.items(), frequency))


# ---------------------------------------------------------------------------------------------------- beginning
@dataclass(frozen=True, slots=True)
class Begun:
    """The stanza that begins the session, and what is left of it."""

    init: bytes
    """The `<init/>` element, serialised: handshake material."""
    content: bytes
    """The `<c/>` element, serialised."""
    resource: str | None
    """The only resource that the stanza may be delivered to, then with AMP's `match-resource` rule; None: any."""
    way: Way | None = field(repr=False)
    """For further stanzas; None when the session ended with this one, and its keys are gone."""


@dataclass(frozen=True, slots=True)
class _Exchanged:
    """d, K, and the ciphertext of the key encapsulation."""

    public: bytes
    shared: bytes = field(repr=False)
    ciphertext: bytes | None


def begin(
    options: Options, chosen: Chosen, identity: Identity, content: bytes, draw: Draw, *, now_ms: int, once: bool = True
) -> Begun:
    """Begin a session with its first content, and with `once` end it by the same stanza ("object encryption").

    `options` have passed `require_current` and `require_signed`. A `Created` header is added to the content.
    Draws: `offline-exponent` (the group's), `offline-nonce` (8), `offline-counter` (16). Two exponentiations, one
    signature. Raises OfflineRefusal (OUT_OF_RANGE).
    """
    suite = chosen.suite
    exchanged = _exchanged(chosen, draw)
    keys = sender_keys(suite, exchanged.shared)
    nonce, chosen_counter = draw("offline-nonce", NONCE), draw("offline-counter", COUNTER)
    counter = first_counter(chosen_counter)
    form = _answer(options, chosen, exchanged, nonce, chosen_counter, once=once)
    mac = Proof(options.nonce, nonce, exchanged.public, identity.public.key_value, form).mac(suite, keys)
    shown = present(identity, mac, Identification.KEY)
    x = _with_identity(form, suite, keys, counter, shown)
    way, c = sealed(Way(suite, keys, after(counter, len(shown)), options.expires_ms), content + created(now_ms))
    return Begun(payloads.init(x), c, options.resource, None if once else way)


def _exchanged(chosen: Chosen, draw: Draw) -> _Exchanged:
    group = exchange(chosen.suite.group)
    secret = group.secret(draw("offline-exponent", group.draw_octets))
    found: _Exchanged | None
    try:
        exchanged = group.shared(chosen.public, secret)
        encapsulated = _encapsulated(chosen)
        shared = key_from_exchange(exchanged, chosen.suite, encapsulated)
        found = _Exchanged(group.public(secret), shared, encapsulated.ciphertext if encapsulated else None)
    except PeerFault:  # NotAMember, NotAKemValue
        found = None
    if found is None:
        raise OfflineRefusal(OfflineFlaw.OUT_OF_RANGE)
    return found


def _encapsulated(chosen: Chosen) -> Encapsulated | None:
    if chosen.suite.kem is None or chosen.kem_key is None:
        return None
    ciphertext, secret = kem(chosen.suite.kem).encapsulate(chosen.kem_key)
    return Encapsulated(secret, chosen.kem_key, ciphertext)


def _answer(
    options: Options, chosen: Chosen, exchanged: _Exchanged, nonce: bytes, counter: bytes, *, once: bool
) -> Element:
    """formB: the answer without identity and MAC."""
    suite = chosen.suite
    named = "modp" if suite.group.isdigit() else names.GROUP
    fields = [write_answer(var, value) for var, value in chosen.answers]
    fields += [write_answer(named, suite.group), write_answer("my_nonce", base64(nonce))]
    fields += [write_answer("dhkeys", base64(exchanged.public))]
    if suite.kem is not None and exchanged.ciphertext is not None:
        fields += [write_answer(names.KEM, suite.kem), write_answer(names.KEM_KEYS, base64(exchanged.ciphertext))]
    fields += [write_answer("nonce", base64(options.nonce)), write_answer("counter", base64(mpi(from_octets(counter))))]
    fields += [write_answer(OPTIONS, base64(options_digest(suite, options.form)))]
    if once:
        fields += [write_answer("terminate", "1")]
    return write_form(FormKind.SUBMIT, *fields)


def _with_identity(form: Element, suite: Suite, keys: DirectionKeys, counter: int, shown: bytes) -> Element:
    """With the fields `identity` (ID_B) and `mac` (M_B)."""
    identity = suite.counter_mode(keys.cipher, counter, shown)
    mac = identity_mac(keys, counter, identity, suite)
    added = (write_answer("identity", base64(identity)), write_answer("mac", base64(mac)))
    return Element(names.DATA, "x", form.attributes, (*form.children, *added))
