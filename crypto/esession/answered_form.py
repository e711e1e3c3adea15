"""What an initiator takes from the responder's answer, with 3 messages and with 4 (XEP-0116, "ESession Accept")."""

from dataclasses import dataclass, field, replace

from crypto.esession import keys, names, terms
from crypto.esession.forms import Form, FormKind, MalformedForm, read_form
from crypto.esession.keys import Encapsulated
from crypto.esession.policy import LARGEST, NONCE_MAX, NONCE_MIN, Agreement, Terms
from crypto.esession.profiles import Profile
from crypto.esession.refusals import Condition, OutOfRange, Unproved, WeakCounter
from crypto.esession.states import KemPair, KeyPair, Offered
from crypto.esession.suite import NotAKemValue, NotAMember, exchange, kem
from crypto.primitives.ciphers import same
from crypto.primitives.integers import from_octets
from crypto.xml import Element, parse

_COUNTER = 16


@dataclass(frozen=True, slots=True)
class Taken:
    """What a response says, and K."""

    agreement: Agreement
    nonce: bytes
    """N_B."""
    pair: KeyPair
    public: bytes
    """d."""
    counter: int
    """C_A."""
    shared: bytes = field(repr=False)
    """K of the exchange."""
    profile: Profile

    def speaking(self, profile: Profile) -> "Taken":
        """The same, for a profile that was recognised."""
        return replace(self, profile=profile)


def taken(state: Offered, x: Element, own: Terms) -> Taken:
    """The response, with K. Costs one exponentiation.

    Raises Unacceptable, OutOfRange, WeakCounter, MalformedForm; Unproved when the nonces are not as they must be.
    """
    response = read_form(x)
    if response.kind is not FormKind.SUBMIT:
        raise MalformedForm
    request = read_form(parse(state.request))
    agreement = terms.require_acceptable(response, request, own, three_message=state.three_message)
    nonce = _require_nonces(response, state.nonce)
    pair = next(p for p in state.pairs if str(p.group) == agreement.suite.group)
    public = _require_member(pair, response)
    profile = _profile(state, agreement, x)
    counter = _require_sound_counter(response, profile, strict=not state.three_message)
    encapsulated = _encapsulated(state.kems, response, agreement.suite.kem)
    shared = keys.key_from_exchange(_shared(pair, public), agreement.suite, encapsulated)
    return Taken(agreement, nonce, pair, public, counter, shared, profile)


def _profile(state: Offered, agreement: Agreement, x: Element) -> Profile:
    """The profile to speak, from what was chosen: only readers of the letter know more than one suite.

    Which profile a peer had, or is to be tried next, comes from sessions and errors that somebody between may have
    made. Whoever chooses an extension of ours is no peer of the deployed profile, whatever was remembered.
    """
    suite = agreement.suite
    extended = suite.kem is not None or not suite.group.isdigit() or agreement.sas == names.BOUND_SAS
    if (suite.cipher, suite.hash) != (names.PLAIN_CIPHER, names.PLAIN_HASH) or extended:
        return Profile.LETTER
    return state.profile or apparent_profile(x)


def apparent_profile(x: Element) -> Profile:
    """The profile that an answer looks like: deployed ones give every field a type, the XEPs' examples none.

    Whoever answers `otr` has read XEP-0217, which the deployed implementation has not. A wrong guess costs a retry.
    """
    fields = {f.attribute("var"): f.attribute("type") for f in x.elements}
    deployed = fields.get("FORM_TYPE") == "text-single" and "otr" not in fields
    return Profile.DEPLOYED if deployed else Profile.LETTER


def _require_nonces(response: Form, own: bytes) -> bytes:
    peer = response.octets("my_nonce", NONCE_MIN, NONCE_MAX)
    if not same(response.octets("nonce", 0, NONCE_MAX), own) or same(peer, own):
        raise Unproved
    return peer


def _require_member(pair: KeyPair, response: Form) -> bytes:
    public: bytes | None
    try:
        public = exchange(str(pair.group)).member(response.octets("dhkeys", 1, LARGEST))
    except NotAMember:
        public = None
    if public is None:
        raise OutOfRange(Condition.NOT_ACCEPTABLE)
    return public


def _shared(pair: KeyPair, public: bytes) -> bytes:
    value: bytes | None
    try:
        value = exchange(str(pair.group)).shared(public, pair.exponent)
    except NotAMember:
        value = None
    if value is None:
        raise OutOfRange(Condition.NOT_ACCEPTABLE)
    return value


def _require_sound_counter(response: Form, profile: Profile, *, strict: bool) -> int:
    counter = from_octets(response.octets("counter", 1, _COUNTER))
    if strict and profile is Profile.DEPLOYED and keys.counter_octets(counter)[0] in (0x00, 0x80):
        raise WeakCounter
    return counter


def _encapsulated(kems: tuple[KemPair, ...], response: Form, mechanism: str | None) -> Encapsulated | None:
    """The post-quantum secret that the responder has sent, when it chose a mechanism."""
    if mechanism is None:
        return None
    pair = next(p for p in kems if p.name == mechanism)
    algorithm = kem(mechanism)
    size = algorithm.ciphertext_octets
    ciphertext = response.octets(names.KEM_KEYS, size, size)
    secret: bytes | None
    try:
        secret = algorithm.decapsulate(pair.secret, ciphertext)
    except NotAKemValue:
        secret = None
    if secret is None:
        raise MalformedForm(names.KEM_KEYS)
    return Encapsulated(secret, pair.public, ciphertext)
