"""The initiator's side of a negotiation (Alice): offer, prove, complete; with 3 messages: offer, conclude.

Every function takes what arrived as the parsed `<x/>` element, and the randomness it needs as arguments. A message
that is not accepted raises a Refusal or MalformedForm; the negotiation is then over.
"""

from crypto.errors import Misuse
from crypto.esession import keys, names, retained
from crypto.esession.answered_form import Taken, taken
from crypto.esession.forms import Form, FormKind, MalformedForm, base64, kept_form, read_form, write_answer, write_form
from crypto.esession.identification import Judge, anyone, expected, own_identification
from crypto.esession.keys import Exchange, Role
from crypto.esession.normal_form import CANONICAL, CLOSING_FIELDS, Reading, distinct_readings, normal_form
from crypto.esession.offering import Values, acceptable_methods, methods, write_request
from crypto.esession.policy import NONCE_MAX, Terms
from crypto.esession.profiles import TRAITS, Profile
from crypto.esession.proofs import Conclusion, Proof, claimed, own_reading, recognised, signed
from crypto.esession.refusals import Unproved
from crypto.esession.retained import HASH, Retained
from crypto.esession.states import Established, KemPair, KeyPair, Offered, Proved
from crypto.esession.suite import Suite, exchange, kem
from crypto.primitives.ciphers import same, sha256
from crypto.primitives.integers import from_octets
from crypto.xml import Element, parse, serialize

NONCE = 8
NO_TERMS = Terms()


def key_pair(group: int | str, draw: bytes) -> KeyPair:
    """A key pair of a group, of a draw of 32 octets. Costs one exponentiation."""
    agreement = exchange(str(group))
    secret = agreement.secret(draw)
    return KeyPair(group, secret, agreement.public(secret))


# ---------------------------------------------------------------------------------------------------- message 1
def offer(
    own: Terms,
    *,
    nonce: bytes,
    exponents: tuple[bytes, ...],
    kem_seeds: tuple[bytes, ...] = (),
    profile: Profile | None = None,
    attempt: int = 0,
    three_message: bool = False,
) -> tuple[Offered, Element]:
    """Begin. Draws: `nonce` of 8 octets, `exponents` of 32 octets each, one for each group of `own.groups`;
    `kem_seeds` of 64 octets each, one for each of `own.kems`, or none at all to offer no key encapsulation.

    Costs one exponentiation for each group offered (XEP-0116, "ESession Request").
    """
    if len(exponents) != len(own.groups) or len(nonce) != NONCE or len(kem_seeds) not in (0, len(own.kems)):
        raise Misuse("an offer needs a nonce of 8 octets and one exponent for each group")
    if three_message:
        require_identified(own)
    pairs = tuple(key_pair(group, draw) for group, draw in zip(own.groups, exponents, strict=True))
    seeds = zip(own.kems, kem_seeds, strict=True) if kem_seeds else ()
    kems = tuple(KemPair(name, *kem(name).keypair(seed)) for name, seed in seeds)
    shown = tuple((p.group, p.public if three_message else sha256(p.public)) for p in pairs)
    values = Values(nonce, shown, tuple((k.name, k.public) for k in kems), three_message)
    form = write_request(own.towards(profile), values)
    return Offered(serialize(form), nonce, pairs, profile, attempt, kems, three_message), form


def require_identified(own: Terms) -> None:
    """Raises Misuse unless both ends can identify themselves by a key, as 3 messages demand; and for a password."""
    ways = own.identifying, acceptable_methods(own)
    if not all(methods(way, three_message=True) for way in ways) or own.password is not None:
        raise Misuse("a 3-message negotiation needs public keys of both ends, and uses no password")


# ---------------------------------------------------------------------------------------------------- message 3 of 4
def prove(
    state: Offered, x: Element, kept: Retained, *, hashes: bytes, own: Terms = NO_TERMS
) -> tuple[Proved, Element]:
    """Take the response and prove the initiator's part.

    Draw: `hashes`, one random value of `rshashes` after the other, each as long as the hash (`hash_octets`).
    Raises Unacceptable, OutOfRange, WeakCounter, MalformedForm; Unproved when the nonces are not as they must be.
    """
    from_peer = taken(state, x, own)
    size = from_peer.agreement.suite.hash_octets
    if len(hashes) % size or not (hashes or kept.secrets):
        raise Misuse("the draw for rshashes is not a number of values, or there would be none at all")
    fresh = tuple(hashes[i : i + size] for i in range(0, len(hashes), size))
    known = tuple(retained.retained_hash(state.nonce, k.secret, from_peer.agreement.suite) for k in kept.secrets)
    form = write_form(
        FormKind.RESULT,
        write_answer("accept", "1"),
        write_answer("nonce", base64(from_peer.nonce)),
        write_answer("rshashes", *map(base64, known + fresh)),
        write_answer("dhkeys", base64(from_peer.pair.public)),
    )
    proof = _own_proof(state, from_peer, form, own)
    proved = Proved(
        request=state.request,
        response=kept_form(x),
        peer_nonce=from_peer.nonce,
        nonce=state.nonce,
        peer_public=from_peer.public,
        shared=from_peer.shared,
        counter=keys.counter_octets(from_peer.counter),
        initiator_mac=proof.mac,
        secrets=kept,
        profile=from_peer.profile,
        attempt=state.attempt,
        agreement=from_peer.agreement,
        pair=from_peer.pair,
        blocks=proof.blocks,
    )
    return proved, proof.form


def hash_octets(state: Offered, x: Element) -> int:
    """How long a value of `rshashes` is with the hash that a response names; whether it may, `prove` says."""
    chosen = read_form(x).value("hash_algs") or ""
    offered = read_form(parse(state.request)).offered("hash_algs") or ()
    return Suite(hash=chosen).hash_octets if chosen in offered else HASH


def _own_proof(state: Offered, from_peer: Taken, form: Element, own: Terms) -> Proof:
    """The initiator's proof, under the keys of the exchange."""
    reading = own_reading(from_peer.profile)
    suite, traits = from_peer.agreement.suite, TRAITS[from_peer.profile]
    own_keys = keys.direction_keys(from_peer.shared, Role.INITIATOR, traits, suite)
    forms = normal_form(parse(state.request), reading), normal_form(form, reading)
    covered = Exchange(from_peer.nonce, state.nonce, from_peer.pair.public, *forms)
    identification = own_identification(from_peer.agreement, own, initiator=True)
    return signed(form, (own_keys, traits), from_peer.counter, covered, identification)


# ---------------------------------------------------------------------------------------------------- message 3 of 3
def conclude(
    state: Offered, x: Element, own: Terms, kept: Retained, *, judge: Judge = anyone
) -> tuple[Established, Element]:
    """Verify the responder's proof in its response and prove our part: the session, and the last message.

    When it returns, the peer knows K, saw and sent the same forms, holds the private key of `Established.peer`, and
    `judge` has nothing against that key (XEP-0116, "Verifying Bob"). Nothing of ours has been shown before.
    Raises Unacceptable, OutOfRange, MalformedForm, Unproved, UnknownKey, KeyRefused.
    """
    from_peer = taken(state, x, own)
    form = read_form(x)
    claim = claimed(form, expected(from_peer.agreement, own, initiator=False))
    exchanges = [
        (r, Exchange(state.nonce, from_peer.nonce, from_peer.public, normal_form(x, r, without=CLOSING_FIELDS), b""))
        for r in distinct_readings(x)
    ]
    at = keys.responder_counter(from_peer.counter)
    profile, reading, shown = recognised(claim, from_peer.shared, Role.RESPONDER, at, exchanges)
    _require_seen(form, state.request, from_peer)
    judge(shown.peer, shown.certificates)
    from_peer = from_peer.speaking(profile)
    ending = (write_answer("terminate", "1"),) if state.once else ()
    last = write_form(
        FormKind.RESULT, write_answer("accept", "1"), write_answer("nonce", base64(from_peer.nonce)), *ending
    )
    proof = _own_proof(state, from_peer, last, own)
    conclusion = Conclusion(
        role=Role.INITIATOR,
        profile=profile,
        shared=from_peer.shared,
        counter=from_peer.counter,
        initiator_mac=proof.mac,
        request=state.request,
        agreement=from_peer.agreement,
        kept=kept,
        matched=None,
        own=from_peer.pair,
        peer_public=from_peer.public,
        blocks=(proof.blocks, claim.blocks),
    )
    response_form = normal_form(x, reading, without=CLOSING_FIELDS)
    return conclusion.established(normal_form(parse(state.request), reading), response_form, shown), proof.form


def _require_seen(form: Form, request: bytes, from_peer: Taken) -> None:
    """Raises Unproved when the responder says that it received another request than ours. The letter says nothing."""
    size = from_peer.agreement.suite.hash_octets
    own = from_peer.agreement.suite.digest(normal_form(parse(request), CANONICAL))
    if form.field(names.REQUEST) is not None and not same(form.octets(names.REQUEST, size, size), own):
        raise Unproved


# ---------------------------------------------------------------------------------------------------- message 4
def complete(state: Proved, x: Element, own: Terms = NO_TERMS, *, judge: Judge = anyone) -> Established:
    """Verify the responder's proof (XEP-0116, "Final Steps").

    When it returns, the peer knows K and the password, if there is one, and saw and sent the same forms; whether it is
    the right person, only a shared retained secret, the password, its public key or the SAS can tell.
    Raises Unproved, MalformedForm, UnknownKey, KeyRefused.
    """
    form = read_form(x)
    if form.kind is not FormKind.RESULT:
        raise MalformedForm
    if not same(form.octets("nonce", 0, NONCE_MAX), state.nonce):
        raise Unproved
    suite = state.agreement.suite
    size = suite.hash_octets
    matched = state.secrets.shared_with_responder(form.octets("srshash", size, size), suite)
    claim = claimed(form, expected(state.agreement, own, initiator=False))
    conclusion = Conclusion(
        role=Role.INITIATOR,
        profile=state.profile,
        shared=state.shared,
        counter=from_octets(state.counter),
        initiator_mac=state.initiator_mac,
        request=state.request,
        agreement=state.agreement,
        kept=state.secrets,
        matched=matched,
        own=state.pair,
        peer_public=state.peer_public,
        password=own.password,
        blocks=(state.blocks, claim.blocks),
    )
    response = parse(state.response)
    exchanges = _covered_at_the_end(state, response, x)
    at = keys.responder_counter(conclusion.counter)
    reading, shown = claim.proved(conclusion.keys_of(Role.RESPONDER), TRAITS[state.profile], at, exchanges)
    judge(shown.peer, shown.certificates)
    request_form = normal_form(parse(state.request), own_reading(state.profile))
    return conclusion.established(request_form, normal_form(response, reading), shown)


def _covered_at_the_end(state: Proved, response: Element, x: Element) -> list[tuple[Reading, Exchange]]:
    """What mac_B covers in message 4, under each reading that the forms tell apart."""
    values = state.nonce, state.peer_nonce, state.peer_public
    return [
        (r, Exchange(*values, normal_form(response, r), normal_form(x, r, without=CLOSING_FIELDS)))
        for r in distinct_readings(response, x)
    ]
