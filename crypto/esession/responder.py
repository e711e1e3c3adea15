"""The responder's side of a negotiation (Bob): answer, verify; with 3 messages the answer holds its proof already.

Every function takes what arrived as the parsed `<x/>` element, and the randomness it needs as arguments. A message
that is not accepted raises a Refusal or MalformedForm; the negotiation is then over.
"""

from dataclasses import replace

from crypto.errors import Misuse
from crypto.esession import keys, names, retained, terms
from crypto.esession.forms import Form, FormKind, MalformedForm, base64, kept_form, read_form, write_answer, write_form
from crypto.esession.identification import Judge, Shown, anyone, expected, own_identification
from crypto.esession.initiator import NO_TERMS, NONCE, key_pair
from crypto.esession.keys import Encapsulated, Exchange, Role
from crypto.esession.normal_form import CANONICAL, CLOSING_FIELDS, Reading, distinct_readings, normal_form
from crypto.esession.policy import LARGEST, NONCE_MAX, Choice, Terms
from crypto.esession.profiles import TRAITS, Profile
from crypto.esession.proofs import Claim, Conclusion, Proof, claimed, recognised, signed
from crypto.esession.refusals import Condition, OutOfRange, Unproved
from crypto.esession.retained import Retained
from crypto.esession.states import Answered, Established, KeyPair
from crypto.esession.suite import NotAKemValue, NotAMember, exchange, kem
from crypto.primitives.ciphers import same, sha256
from crypto.primitives.integers import from_octets, mpi
from crypto.xml import Element, parse, serialize

_COUNTER = 16
_UNSOUND_STARTS = frozenset({0x00, 0x7F, 0x80, 0xFF})


# ---------------------------------------------------------------------------------------------------- message 2
def answer(x: Element, own: Terms, *, nonce: bytes, exponent: bytes, counter: bytes) -> tuple[Answered, Element]:
    """Answer a request. Draws: `nonce` of 8 octets, `exponent` of 32, `counter` of 16; a key encapsulation draws by
    itself. Costs one exponentiation, with 3 messages two.

    Raises NotSupported, Unacceptable, MalformedForm (XEP-0116, "ESession Rejection"), OutOfRange.
    """
    if len(nonce) != NONCE or len(counter) != _COUNTER:
        raise Misuse("an answer needs a nonce of 8 octets and a counter of 16")
    choice = terms.choose(read_form(x), own)
    pair = key_pair(choice.group, exponent)
    return answer_with(
        x,
        choice,
        nonce=nonce,
        pair=pair,
        counter=sound_counter(counter),
        encapsulated=encapsulation(choice),
        own=own,
    )


def encapsulation(choice: Choice) -> Encapsulated | None:
    """A secret for the initiator's key, where a mechanism was chosen. Raises MalformedForm."""
    mechanism = choice.agreement.suite.kem
    if mechanism is None or choice.kem_key is None:
        return None
    made: tuple[bytes, bytes] | None
    try:
        made = kem(mechanism).encapsulate(choice.kem_key)
    except NotAKemValue:
        made = None
    if made is None:
        raise MalformedForm(names.KEM_KEYS)
    return Encapsulated(made[1], choice.kem_key, made[0])


def answer_with(
    x: Element,
    choice: Choice,
    *,
    nonce: bytes,
    pair: KeyPair,
    counter: bytes,
    encapsulated: Encapsulated | None = None,
    own: Terms = NO_TERMS,
) -> tuple[Answered, Element]:
    """The answer to the request of which `choice` was made, with these values."""
    group = "modp" if isinstance(choice.group, int) else names.GROUP
    hybrid = [write_answer(names.KEM, choice.agreement.suite.kem or "")] if encapsulated else []
    hybrid += [write_answer(names.KEM_KEYS, base64(encapsulated.ciphertext))] if encapsulated else []
    form = write_form(
        FormKind.SUBMIT,
        *choice.answers,
        write_answer(group, str(choice.group)),
        *hybrid,
        *([_received(x, choice)] if choice.agreement.three_message else []),
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
        encapsulated=encapsulated,
    )
    return _proving(state, form, own) if choice.agreement.three_message else (state, form)


def _received(x: Element, choice: Choice) -> Element:
    """What we saw of the request: with 3 messages the initiator shows much before we could find that it was changed."""
    seen = choice.agreement.suite.digest(normal_form(x, CANONICAL))
    return write_answer(names.REQUEST, base64(seen))


def _proving(state: Answered, form: Element, own: Terms) -> tuple[Answered, Element]:
    """With 3 messages: K is known already, and the answer proves our part by the letter's profile."""
    suite, traits = state.agreement.suite, TRAITS[Profile.LETTER]
    public, shared = _exchanged(state, state.commitment)
    own_keys = keys.direction_keys(shared, Role.RESPONDER, traits, suite)
    covered = Exchange(state.peer_nonce, state.nonce, state.pair.public, normal_form(form, CANONICAL), b"")
    counter = keys.responder_counter(from_octets(state.counter))
    identification = own_identification(state.agreement, own, initiator=False)
    proof = signed(form, (own_keys, traits), counter, covered, identification)
    return replace(state, commitment=public, shared=shared, blocks=proof.blocks), proof.form


def sound_counter(draw: bytes) -> bytes:
    """C_A from its draw: neither it nor C_B begins with a zero octet, which the deployed implementation fails on."""
    return bytes([draw[0] ^ 0x2A]) + draw[1:] if draw[0] in _UNSOUND_STARTS else draw


# ---------------------------------------------------------------------------------------------------- the last but one
def verify(
    state: Answered, x: Element, kept: Retained, *, confirmation: bytes, own: Terms = NO_TERMS, judge: Judge = anyone
) -> tuple[Established, Element]:
    """Verify the initiator's proof and prove our part (message 4). Draw: `confirmation`, as long as the hash, sent when
    no secret is shared.

    When it returns, the peer knows K, committed itself to its public value before it saw ours, saw and sent the same
    forms, and holds the private key of `Established.peer`. That it knows the password shows only when a stanza of its
    arrives. Costs one exponentiation. Raises OutOfRange, Unproved, MalformedForm, UnknownKey, KeyRefused.
    """
    if len(confirmation) != state.agreement.suite.hash_octets:
        raise Misuse("the draw for srshash is not as long as the hash")
    form, suite = _completion(x), state.agreement.suite
    public, shared = _require_committed(state, form)
    claim = claimed(form, expected(state.agreement, own, initiator=True))
    profile, reading, shown = _recognised(state, x, claim, public, shared)
    judge(shown.peer, shown.certificates)
    matched = kept.shared_with_initiator(state.peer_nonce, form.octet_strings("rshashes", 1, 64), suite)
    draft = _conclusion(state, profile, (public, shared), claim, kept)
    draft = replace(draft, matched=matched, password=own.password)
    response_form = normal_form(parse(state.response), reading)
    own_hash = retained.shared_hash(matched.secret, suite) if matched else confirmation
    last = write_form(
        FormKind.RESULT, write_answer("nonce", base64(state.peer_nonce)), write_answer("srshash", base64(own_hash))
    )
    proof = _own_proof(state, draft, (response_form, normal_form(last, reading)), last, own)
    draft = replace(draft, blocks=(claim.blocks, proof.blocks))
    return draft.established(normal_form(parse(state.request), reading), response_form, shown), proof.form


def conclude(
    state: Answered, x: Element, kept: Retained, *, own: Terms, judge: Judge = anyone
) -> tuple[Established, bool]:
    """Verify the initiator's proof, the last of 3 messages: the session, and whether it ends with this very stanza.

    What it proves is what `verify` says, but for the commitment. Raises Unproved, MalformedForm, UnknownKey,
    KeyRefused.
    """
    form = _completion(x)
    if state.shared is None:
        raise Misuse("the negotiation has more than three messages")
    if not same(form.octets("nonce", 0, NONCE_MAX), state.nonce):
        raise Unproved
    claim = claimed(form, expected(state.agreement, own, initiator=True))
    profile, reading, shown = _recognised(state, x, claim, state.commitment, state.shared)
    judge(shown.peer, shown.certificates)
    draft = _conclusion(state, profile, (state.commitment, state.shared), claim, kept)
    draft = replace(draft, blocks=(claim.blocks, state.blocks))
    response_form = normal_form(parse(state.response), reading, without=CLOSING_FIELDS)
    made = draft.established(normal_form(parse(state.request), reading), response_form, shown)
    return replace(made, session=replace(made.session, confirmed=True)), form.says_yes("terminate")


def _completion(x: Element) -> Form:
    form = read_form(x)
    if form.kind is not FormKind.RESULT:
        raise MalformedForm
    return form


def _conclusion(
    state: Answered, profile: Profile, exchanged: tuple[bytes, bytes], claim: Claim, kept: Retained
) -> Conclusion:
    public, shared = exchanged
    return Conclusion(
        role=Role.RESPONDER,
        profile=profile,
        shared=shared,
        counter=from_octets(state.counter),
        initiator_mac=claim.mac,
        request=state.request,
        agreement=state.agreement,
        kept=kept,
        matched=None,
        own=state.pair,
        peer_public=public,
    )


def _require_committed(state: Answered, form: Form) -> tuple[bytes, bytes]:
    """e as it was committed to, and K. Raises Unproved, OutOfRange."""
    octets = form.octets("dhkeys", 1, LARGEST)
    public = mpi(from_octets(octets)) if isinstance(state.pair.group, int) else octets
    if not same(sha256(public), state.commitment) or not same(form.octets("nonce", 0, NONCE_MAX), state.nonce):
        raise Unproved
    return _exchanged(state, public)


def _exchanged(state: Answered, public: bytes) -> tuple[bytes, bytes]:
    """e in its one encoding, and K. Raises OutOfRange."""
    agreement = exchange(str(state.pair.group))
    found: tuple[bytes, bytes] | None
    try:
        member = agreement.member(public)
        found = member, agreement.shared(member, state.pair.exponent)
    except NotAMember:
        found = None
    if found is None:
        raise OutOfRange(Condition.FEATURE_NOT_IMPLEMENTED)
    return found[0], keys.key_from_exchange(found[1], state.agreement.suite, state.encapsulated)


def _recognised(
    state: Answered, x: Element, claim: Claim, public: bytes, shared: bytes
) -> tuple[Profile, Reading, Shown]:
    """The profile and the reading by which the initiator's proof is right, and who it is."""
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
    return recognised(claim, shared, Role.INITIATOR, from_octets(state.counter), exchanges)


def _own_proof(state: Answered, draft: Conclusion, forms: tuple[bytes, bytes], last: Element, own: Terms) -> Proof:
    """The proof in message 4; `forms` are formB and formB2, normalised."""
    covered = Exchange(state.peer_nonce, state.nonce, state.pair.public, *forms)
    counter = keys.responder_counter(draft.counter)
    identification = own_identification(state.agreement, own, initiator=False)
    return signed(last, (draft.keys_of(Role.RESPONDER), TRAITS[draft.profile]), counter, covered, identification)
