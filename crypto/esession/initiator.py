"""The initiator's side of a negotiation (Alice): offer, prove, complete.

Every function takes what arrived as the parsed `<x/>` element, and the randomness it needs as arguments. A message
that is not accepted raises a Refusal or MalformedForm; the negotiation is then over.
"""

from crypto.errors import Misuse
from crypto.esession import keys, retained, terms
from crypto.esession.forms import Form, FormKind, MalformedForm, base64, kept_form, read_form, write_answer, write_form
from crypto.esession.keys import Exchange, Role
from crypto.esession.normal_form import CLOSING_FIELDS, distinct_readings, normal_form
from crypto.esession.profiles import TRAITS, Profile
from crypto.esession.proofs import Conclusion, claimed, own_reading, signed
from crypto.esession.refusals import Condition, OutOfRange, Unproved, WeakCounter
from crypto.esession.retained import HASH, Retained
from crypto.esession.states import Established, KeyPair, Offered, Proved
from crypto.esession.terms import NONCE_MAX, NONCE_MIN, Terms
from crypto.primitives.ciphers import same, sha256
from crypto.primitives.integers import from_octets
from crypto.primitives.modp import GROUPS, NotAMember, member, public_value, secret_exponent, shared_value
from crypto.xml import Element, parse, serialize

NONCE = 8
_COUNTER = 16
_LARGEST = 1025
"""Octets of the largest number of group 18, with one more for a sign."""


def key_pair(group: int, draw: bytes) -> KeyPair:
    """A key pair of a group, of a draw of 32 octets. Costs one exponentiation."""
    exponent = secret_exponent(draw)
    return KeyPair(group, exponent, public_value(GROUPS[group], exponent))


# ---------------------------------------------------------------------------------------------------- message 1
def offer(
    own: Terms, *, nonce: bytes, exponents: tuple[bytes, ...], profile: Profile | None = None, attempt: int = 0
) -> tuple[Offered, Element]:
    """Begin. Draws: `nonce` of 8 octets, `exponents` of 32 octets each, one for each group of `own.groups`.

    Costs one exponentiation for each group offered (XEP-0116, "ESession Request").
    """
    if len(exponents) != len(own.groups) or len(nonce) != NONCE:
        raise Misuse("an offer needs a nonce of 8 octets and one exponent for each group")
    pairs = tuple(key_pair(group, draw) for group, draw in zip(own.groups, exponents, strict=True))
    form = terms.write_request(own, nonce, tuple(sha256(pair.public) for pair in pairs))
    return Offered(serialize(form), nonce, pairs, profile, attempt), form


# ---------------------------------------------------------------------------------------------------- message 3
def prove(state: Offered, x: Element, kept: Retained, *, hashes: bytes) -> tuple[Proved, Element]:
    """Take the response and prove the initiator's part. Draw: `hashes`, 32 octets for each random value of `rshashes`.

    Raises Unacceptable, OutOfRange, WeakCounter, MalformedForm; Unproved when the nonces are not as they must be.
    """
    if len(hashes) % HASH or not (hashes or kept.secrets):
        raise Misuse("the draw for rshashes is not a number of 32-octet values, or there would be none at all")
    response = read_form(x)
    request = parse(state.request)
    agreement = _require_agreement(response, read_form(request))
    peer_nonce = _require_nonces(response, state.nonce)
    pair = next(p for p in state.pairs if str(p.group) == response.value("modp"))
    peer_public = _require_member(pair, response)
    profile = state.profile or apparent_profile(x)
    counter = _require_sound_counter(response, profile)
    shared = keys.key_from_exchange(shared_value(GROUPS[pair.group], peer_public, pair.exponent))

    form = _completion(pair, peer_nonce, _retained_hashes(state.nonce, kept, hashes))
    traits, reading = TRAITS[profile], own_reading(profile)
    own_keys = keys.direction_keys(shared, Role.INITIATOR, traits)
    exchange = Exchange(peer_nonce, state.nonce, pair.public, normal_form(request, reading), normal_form(form, reading))
    whole, mac = signed(form, own_keys, traits, counter, exchange)
    proved = Proved(
        request=state.request,
        response=kept_form(x),
        peer_nonce=peer_nonce,
        nonce=state.nonce,
        peer_public=peer_public,
        shared=shared,
        counter=keys.counter_octets(counter),
        initiator_mac=mac,
        secrets=kept,
        profile=profile,
        attempt=state.attempt,
        agreement=agreement,
    )
    return proved, whole


def apparent_profile(x: Element) -> Profile:
    """The profile that an answer looks like: deployed ones give every field a type, the XEPs' examples none.

    Whoever answers `otr` has read XEP-0217, which the deployed implementation has not. A wrong guess costs a retry.
    """
    fields = {f.attribute("var"): f.attribute("type") for f in x.elements}
    deployed = fields.get("FORM_TYPE") == "text-single" and "otr" not in fields
    return Profile.DEPLOYED if deployed else Profile.LETTER


def _require_agreement(response: Form, request: Form) -> terms.Agreement:
    if response.kind is not FormKind.SUBMIT:
        raise MalformedForm
    return terms.require_acceptable(response, request)


def _require_nonces(response: Form, own: bytes) -> bytes:
    peer = response.octets("my_nonce", NONCE_MIN, NONCE_MAX)
    if not same(response.octets("nonce", 0, NONCE_MAX), own) or same(peer, own):
        raise Unproved
    return peer


def _require_member(pair: KeyPair, response: Form) -> bytes:
    public: bytes | None
    try:
        public = member(GROUPS[pair.group], response.octets("dhkeys", 1, _LARGEST))
    except NotAMember:
        public = None
    if public is None:
        raise OutOfRange(Condition.NOT_ACCEPTABLE)
    return public


def _require_sound_counter(response: Form, profile: Profile) -> int:
    counter = from_octets(response.octets("counter", 1, _COUNTER))
    if profile is Profile.DEPLOYED and keys.counter_octets(counter)[0] in (0x00, 0x80):
        raise WeakCounter
    return counter


def _retained_hashes(nonce: bytes, kept: Retained, draw: bytes) -> tuple[bytes, ...]:
    known = tuple(retained.retained_hash(nonce, k.secret) for k in kept.secrets)
    return known + tuple(draw[i : i + HASH] for i in range(0, len(draw), HASH))


def _completion(pair: KeyPair, peer_nonce: bytes, hashes: tuple[bytes, ...]) -> Element:
    return write_form(
        FormKind.RESULT,
        write_answer("accept", "1"),
        write_answer("nonce", base64(peer_nonce)),
        write_answer("rshashes", *map(base64, hashes)),
        write_answer("dhkeys", base64(pair.public)),
    )


# ---------------------------------------------------------------------------------------------------- message 4
def complete(state: Proved, x: Element) -> Established:
    """Verify the responder's proof (XEP-0116, "Final Steps").

    When it returns, the peer knows K, and saw and sent the same forms; whether it is the right person, only a shared
    retained secret or the SAS can tell. Raises Unproved, MalformedForm.
    """
    form = read_form(x)
    if form.kind is not FormKind.RESULT:
        raise MalformedForm
    if not same(form.octets("nonce", 0, NONCE_MAX), state.nonce):
        raise Unproved
    matched = state.secrets.shared_with_responder(form.octets("srshash", HASH, HASH))
    response = parse(state.response)
    counter = from_octets(state.counter)
    draft = Conclusion(
        role=Role.INITIATOR,
        profile=state.profile,
        shared=state.shared,
        counter=counter,
        initiator_mac=state.initiator_mac,
        request=state.request,
        agreement=state.agreement,
        kept=state.secrets,
        matched=matched,
    )
    return draft.established(_verified_response(state, draft, response, x, form))


def _verified_response(state: Proved, draft: Conclusion, response: Element, x: Element, form: Form) -> bytes:
    """formB under the reading by which the responder's proof is right. Raises Unproved."""
    identity, mac = claimed(form)
    peer_keys = draft.keys_of(Role.RESPONDER)
    counter = keys.responder_counter(draft.counter)
    if not keys.identity_mac_fits(peer_keys, counter, identity, mac):
        raise Unproved
    proof = keys.identity_cipher(peer_keys, TRAITS[state.profile], counter, identity)
    for reading in distinct_readings(response, x):
        first, second = normal_form(response, reading), normal_form(x, reading, without=CLOSING_FIELDS)
        if same(Exchange(state.nonce, state.peer_nonce, state.peer_public, first, second).proof(peer_keys), proof):
            return first
    raise Unproved
