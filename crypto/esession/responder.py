"""The responder's side of a negotiation (Bob): answer, verify.

Every function takes what arrived as the parsed `<x/>` element, and the randomness it needs as arguments. A message
that is not accepted raises a Refusal or MalformedForm; the negotiation is then over.
"""

from crypto.errors import Misuse
from crypto.esession import keys, retained, terms
from crypto.esession.forms import Form, FormKind, MalformedForm, base64, kept_form, read_form, write_answer, write_form
from crypto.esession.initiator import NONCE, key_pair
from crypto.esession.keys import Exchange, Role
from crypto.esession.normal_form import CLOSING_FIELDS, Reading, distinct_readings, normal_form
from crypto.esession.profiles import TRAITS, Profile
from crypto.esession.proofs import Conclusion, claimed, signed
from crypto.esession.refusals import Condition, OutOfRange, Unproved
from crypto.esession.retained import HASH, Retained
from crypto.esession.states import Answered, Established, KeyPair
from crypto.esession.terms import NONCE_MAX, Choice, Terms
from crypto.primitives.ciphers import same, sha256
from crypto.primitives.integers import from_octets, mpi
from crypto.primitives.modp import GROUPS, NotAMember, shared_value
from crypto.xml import Element, parse, serialize

_COUNTER = 16
_LARGEST = 1025
_MAX_HASHES = 64
_UNSOUND_STARTS = frozenset({0x00, 0x7F, 0x80, 0xFF})


# ---------------------------------------------------------------------------------------------------- message 2
def answer(x: Element, own: Terms, *, nonce: bytes, exponent: bytes, counter: bytes) -> tuple[Answered, Element]:
    """Answer a request. Draws: `nonce` of 8 octets, `exponent` of 32, `counter` of 16. Costs one exponentiation.

    Raises NotSupported, Unacceptable, MalformedForm (XEP-0116, "ESession Rejection").
    """
    if len(nonce) != NONCE or len(counter) != _COUNTER:
        raise Misuse("an answer needs a nonce of 8 octets and a counter of 16")
    choice = terms.choose(read_form(x), own)
    return answer_with(x, choice, nonce=nonce, pair=key_pair(choice.group, exponent), counter=sound_counter(counter))


def answer_with(x: Element, choice: Choice, *, nonce: bytes, pair: KeyPair, counter: bytes) -> tuple[Answered, Element]:
    """The answer to the request of which `choice` was made, with these values."""
    form = write_form(
        FormKind.SUBMIT,
        *choice.answers,
        write_answer("modp", str(choice.group)),
        write_answer("my_nonce", base64(nonce)),
        write_answer("dhkeys", base64(pair.public)),
        write_answer("counter", base64(mpi(from_octets(counter)))),
        write_answer("nonce", base64(choice.peer_nonce)),
    )
    state = Answered(
        request=kept_form(x),
        response=serialize(form),
        peer_nonce=choice.peer_nonce,
        nonce=nonce,
        commitment=choice.commitment,
        pair=pair,
        counter=counter,
        agreement=choice.agreement,
    )
    return state, form


def sound_counter(draw: bytes) -> bytes:
    """C_A from its draw: neither it nor C_B begins with a zero octet, which the deployed implementation fails on."""
    return bytes([draw[0] ^ 0x2A]) + draw[1:] if draw[0] in _UNSOUND_STARTS else draw


# ---------------------------------------------------------------------------------------------------- message 4
def verify(state: Answered, x: Element, kept: Retained, *, confirmation: bytes) -> tuple[Established, Element]:
    """Verify the initiator's proof and prove our part. Draw: `confirmation`, 32 octets, sent when no secret is shared.

    When it returns, the peer knows K, committed itself to its public value before it saw ours, and saw and sent the
    same forms. Costs one exponentiation. Raises OutOfRange, Unproved, MalformedForm.
    """
    if len(confirmation) != HASH:
        raise Misuse("the draw for srshash is not 32 octets")
    form = read_form(x)
    if form.kind is not FormKind.RESULT:
        raise MalformedForm
    peer_public, shared = _require_committed(state, form)
    profile, reading = _recognised(state, x, form, peer_public, shared)
    hashes = form.octet_strings("rshashes", 1, 64)
    matched = kept.shared_with_initiator(state.peer_nonce, hashes)
    draft = Conclusion(
        role=Role.RESPONDER,
        profile=profile,
        shared=shared,
        counter=from_octets(state.counter),
        initiator_mac=claimed(form)[1],
        request=state.request,
        agreement=state.agreement,
        kept=kept,
        matched=matched,
    )
    response_form = normal_form(parse(state.response), reading)
    own_hash = retained.shared_hash(matched.secret) if matched else confirmation
    return draft.established(response_form), _own_proof(state, draft, reading, response_form, own_hash)


def _require_committed(state: Answered, form: Form) -> tuple[bytes, bytes]:
    """e as it was committed to, and K. Raises Unproved, OutOfRange."""
    public = mpi(from_octets(form.octets("dhkeys", 1, _LARGEST)))
    if not same(sha256(public), state.commitment) or not same(form.octets("nonce", 0, NONCE_MAX), state.nonce):
        raise Unproved
    shared: bytes | None
    try:
        shared = keys.key_from_exchange(shared_value(GROUPS[state.pair.group], public, state.pair.exponent))
    except NotAMember:
        shared = None
    if shared is None:
        raise OutOfRange(Condition.FEATURE_NOT_IMPLEMENTED)
    return public, shared


def _recognised(state: Answered, x: Element, form: Form, public: bytes, shared: bytes) -> tuple[Profile, Reading]:
    """The profile and the reading by which the initiator's proof is right. Raises Unproved when there is none."""
    identity, mac = claimed(form)
    counter = from_octets(state.counter)
    request = parse(state.request)

    exchanges = [
        (
            reading,
            Exchange(
                state.nonce,
                state.peer_nonce,
                public,
                normal_form(request, reading),
                normal_form(x, reading, without=CLOSING_FIELDS),
            ),
        )
        for reading in distinct_readings(request, x)
    ]
    for profile, traits in TRAITS.items():
        peer_keys = keys.direction_keys(shared, Role.INITIATOR, traits)
        if not keys.identity_mac_fits(peer_keys, counter, identity, mac):
            continue
        proof = keys.identity_cipher(peer_keys, traits, counter, identity)
        for reading, exchange in exchanges:
            if same(exchange.proof(peer_keys), proof):
                return profile, reading
    raise Unproved


def _own_proof(state: Answered, draft: Conclusion, reading: Reading, response_form: bytes, own_hash: bytes) -> Element:
    form = write_form(
        FormKind.RESULT, write_answer("nonce", base64(state.peer_nonce)), write_answer("srshash", base64(own_hash))
    )
    exchange = Exchange(state.peer_nonce, state.nonce, state.pair.public, response_form, normal_form(form, reading))
    counter = keys.responder_counter(draft.counter)
    return signed(form, draft.keys_of(Role.RESPONDER), TRAITS[draft.profile], counter, exchange)[0]
