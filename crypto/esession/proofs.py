"""What both roles do alike: writing and checking the proof of a form, and making the session of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from crypto.esession import keys, names, rekeying, retained
from crypto.esession.forms import Form, base64, write_answer
from crypto.esession.identification import Expected, Own, Shown
from crypto.esession.keys import DirectionKeys, Exchange, Role
from crypto.esession.normal_form import AS_DEPLOYED, CANONICAL, Reading
from crypto.esession.policy import Agreement
from crypto.esession.presented import MAX_PRESENTED, Identification
from crypto.esession.profiles import TRAITS, Profile, Traits
from crypto.esession.refusals import Refusal, Unproved
from crypto.esession.retained import Chain, Retained, RetainedSecret
from crypto.esession.sas import bound_string, short_authentication_string
from crypto.esession.session import Agreed, ReceivingDirection, Rekeying, SendingDirection, Session
from crypto.esession.states import Established, KeyPair
from crypto.esession.suite import Suite
from crypto.primitives.ciphers import sha256
from crypto.xml import Element


def own_reading(profile: Profile) -> Reading:
    """The reading of the normal form that we use for our own proofs."""
    return AS_DEPLOYED if profile is Profile.DEPLOYED else CANONICAL


def profiles_for(suite: Suite) -> tuple[Profile, ...]:
    """The profiles that a peer with these algorithms may speak: all but the letter's have one cipher and one hash."""
    plain = (suite.cipher, suite.hash) == (names.PLAIN_CIPHER, names.PLAIN_HASH)
    return tuple(TRAITS) if plain else (Profile.LETTER,)


# ---------------------------------------------------------------------------------------------------- writing
@dataclass(frozen=True, slots=True)
class Proof:
    """The fields `identity` and `mac` of our own form, ID and M."""

    form: Element
    """The form with the two fields."""
    mac: bytes
    blocks: int
    """Blocks of key stream that ID uses."""


def signed(form: Element, under: tuple[DirectionKeys, Traits], counter: int, exchange: Exchange, own: Own) -> Proof:
    """The form with the proof of what `exchange` covers (its `key` is filled in), under these keys."""
    keys_of, traits = under
    proof = replace(exchange, key=own.key).proof(keys_of, own.suite)
    identity = keys.identity_cipher(keys_of, traits, counter, own.content(proof), own.suite)
    mac = keys.identity_mac(keys_of, counter, identity, own.suite)
    added = (write_answer("identity", base64(identity)), write_answer("mac", base64(mac)))
    whole = Element(names.DATA, "x", form.attributes, (*form.children, *added))
    return Proof(whole, mac, keys.blocks_of(identity))


# ---------------------------------------------------------------------------------------------------- checking
@dataclass(frozen=True, slots=True)
class Claim:
    """ID and M of a peer's form, and how it must identify itself."""

    identity: bytes
    mac: bytes
    expected: Expected

    @property
    def blocks(self) -> int:
        """Blocks of key stream that ID uses."""
        return keys.blocks_of(self.identity)

    def proved(
        self, keys_of: DirectionKeys, traits: Traits, counter: int, exchanges: Iterable[tuple[Reading, Exchange]]
    ) -> tuple[Reading, Shown]:
        """The reading by which the proof is right, and who it proves. Raises Unproved, UnknownKey, KeyRefused."""
        suite = self.expected.suite
        if not keys.identity_mac_fits(keys_of, counter, self.identity, self.mac, suite):
            raise Unproved
        content = keys.identity_cipher(keys_of, traits, counter, self.identity, suite)
        refused: Refusal = Unproved()
        for reading, exchange in exchanges:

            def proof(key: bytes, of: Exchange = exchange) -> bytes:
                return replace(of, key=key).proof(keys_of, suite)

            try:
                return reading, self.expected.shown(content, proof)
            except Refusal as other:
                refused = other if isinstance(refused, Unproved) else refused
        raise refused


def claimed(form: Form, expected: Expected) -> Claim:
    """The fields `identity` and `mac` of a peer's form. Raises MalformedForm."""
    size = expected.suite.hash_octets
    least, most = (size, size) if expected.how is Identification.NONE else (1, MAX_PRESENTED)
    return Claim(form.octets("identity", least, most), form.octets("mac", size, size), expected)


def recognised(
    claim: Claim, shared: bytes, role: Role, counter: int, exchanges: list[tuple[Reading, Exchange]]
) -> tuple[Profile, Reading, Shown]:
    """The profile and the reading by which the proof of `role` is right, from K.

    Each is tried against a keyed MAC. Raises Unproved when there is none, UnknownKey, KeyRefused.
    """
    refused: Refusal = Unproved()
    for profile in profiles_for(claim.expected.suite):
        traits = TRAITS[profile]
        keys_of = keys.direction_keys(shared, role, traits, claim.expected.suite)
        try:
            return profile, *claim.proved(keys_of, traits, counter, exchanges)
        except Refusal as other:
            refused = other if isinstance(refused, Unproved) else refused
    raise refused


# ---------------------------------------------------------------------------------------------------- the session
@dataclass(frozen=True, slots=True)
class Conclusion:
    """All that a session is made of, known to both ends when the last message was made or verified."""

    role: Role
    profile: Profile
    shared: bytes = field(repr=False)
    """K of the exchange."""
    counter: int
    """C_A as it was chosen."""
    initiator_mac: bytes
    """M_A."""
    request: bytes
    """The request's `<x/>`, serialised."""
    agreement: Agreement
    kept: Retained = field(repr=False)
    matched: RetainedSecret | None = field(repr=False)
    own: KeyPair | None
    """Our Diffie-Hellman values, from which later keys are made."""
    peer_public: bytes
    password: bytes | None = field(default=None, repr=False)
    blocks: tuple[int, int] = (2, 2)
    """Blocks of key stream that the identities of initiator and responder use."""

    @property
    def final(self) -> bytes:
        """The final K. After 3 messages it is that of the exchange."""
        if self.agreement.three_message:
            return self.shared
        secret = self.matched.secret if self.matched else None
        return keys.final_key(self.shared, secret, self.password, self.agreement.suite)

    def keys_of(self, role: Role) -> DirectionKeys:
        """The final keys of what a role sends."""
        return keys.direction_keys(self.final, role, TRAITS[self.profile], self.agreement.suite)

    def established(self, request_form: bytes, response_form: bytes, shown: Shown) -> Established:
        """The session, not yet confirmed by a stanza of the peer's, and the new retained secret.

        `request_form` and `response_form` are formA and formB, normalised.
        """
        secret = None
        if not self.agreement.three_message:
            verified = self.matched is not None and self.matched.verified
            secret = RetainedSecret(retained.new_secret(self.final, self.agreement.suite), verified)
        session = self._session(self._agreed(secret, self._string(request_form, response_form), shown))
        return Established(session, secret, shown.peer, shown.certificates)

    def _session(self, agreed: Agreed) -> Session:
        traits = TRAITS[self.profile]
        peer = Role.RESPONDER if self.role is Role.INITIATOR else Role.INITIATOR
        own_keys, peer_keys = self.keys_of(self.role), self.keys_of(peer)
        return Session(
            agreed=agreed,
            sending=SendingDirection(own_keys.cipher, own_keys.mac, self._after_identity(self.role)),
            receiving=ReceivingDirection(
                peer_keys.cipher, peer_keys.mac, self._after_identity(peer), traits.first_block, traits.runs_on
            ),
            rekeying=self._rekeying(),
        )

    def _rekeying(self) -> Rekeying | None:
        if self.own is None:
            return None
        suite = self.agreement.suite
        return Rekeying.begin(
            self.own.exponent,
            self.peer_public,
            frequency=self.agreement.rekey_freq,
            profile=self.profile,
            mixed=rekeying.mixed_of(suite, self.final) if suite.kem else None,
        )

    def _string(self, request_form: bytes, response_form: bytes) -> str:
        """The short authentication string; empty after 3 messages, which have none."""
        suite = self.agreement.suite
        if self.agreement.three_message:
            return ""
        if self.agreement.sas == names.BOUND_SAS:
            own = self.own.public if self.own else b""
            public = own if self.role is Role.INITIATOR else self.peer_public
            return bound_string(public, request_form, response_form, suite)
        return short_authentication_string(self.initiator_mac, response_form, suite)

    def _agreed(self, secret: RetainedSecret | None, string: str, shown: Shown) -> Agreed:
        chain = Chain.CONTINUED if self.matched else Chain.BROKEN if self.kept.secrets else Chain.FIRST
        agreement = self.agreement
        return Agreed(
            role=self.role,
            profile=self.profile,
            sas=string,
            chain=chain,
            verified=secret is not None and secret.verified,
            logging=agreement.logging,
            disclosure=agreement.disclosure,
            request_mark=sha256(self.request)[:8],
            secret_identity=retained.identity_of(secret.secret) if secret else b"",
            replaced_identity=retained.identity_of(self.matched.secret) if self.matched else None,
            suite=agreement.suite,
            stanzas=agreement.stanzas,
            rekey_freq=agreement.rekey_freq,
            hybrid=agreement.suite.kem is not None,
            peer_fingerprint=shown.peer.fingerprint() if shown.peer else None,
            three_message=agreement.three_message,
            password=self.password is not None,
            sas_bound=agreement.sas == names.BOUND_SAS,
        )

    def _after_identity(self, role: Role) -> bytes:
        initiator, responder = self.blocks
        if role is Role.INITIATOR:
            return keys.counter_octets(self.counter + initiator)
        return keys.counter_octets(keys.responder_counter(self.counter) + responder)
