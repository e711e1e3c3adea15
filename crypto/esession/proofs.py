"""What both roles do alike: writing and checking the proof of a completion form, and making the session of it."""

from dataclasses import dataclass, field

from crypto.esession import keys, names, retained
from crypto.esession.forms import Form, base64, write_answer
from crypto.esession.keys import IDENTITY, IDENTITY_BLOCKS, DirectionKeys, Exchange, Role
from crypto.esession.normal_form import AS_DEPLOYED, CANONICAL, Reading
from crypto.esession.profiles import TRAITS, Profile, Traits
from crypto.esession.retained import Chain, Retained, RetainedSecret
from crypto.esession.sas import short_authentication_string
from crypto.esession.session import Agreed, ReceivingDirection, SendingDirection, Session
from crypto.esession.states import Established
from crypto.esession.terms import Agreement
from crypto.primitives.ciphers import sha256
from crypto.xml import Element

MAC = 32


def own_reading(profile: Profile) -> Reading:
    """The reading of the normal form that we use for our own proofs."""
    return AS_DEPLOYED if profile is Profile.DEPLOYED else CANONICAL


def signed(
    form: Element, own: DirectionKeys, traits: Traits, counter: int, exchange: Exchange
) -> tuple[Element, bytes]:
    """The completion form with its fields `identity` and `mac`; and M, 32 octets."""
    identity = keys.identity_cipher(own, traits, counter, exchange.proof(own))
    mac = keys.identity_mac(own, counter, identity)
    added = (write_answer("identity", base64(identity)), write_answer("mac", base64(mac)))
    return Element(names.DATA, "x", form.attributes, (*form.children, *added)), mac


def claimed(form: Form) -> tuple[bytes, bytes]:
    """The fields `identity` and `mac` of a peer's completion form. Raises MalformedForm."""
    return form.octets("identity", IDENTITY, IDENTITY), form.octets("mac", MAC, MAC)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """All that a session is made of, known to both ends when the last message was made or verified."""

    role: Role
    profile: Profile
    shared: bytes = field(repr=False)
    """K of the Diffie-Hellman exchange."""
    counter: int
    """C_A as it was chosen."""
    initiator_mac: bytes
    """M_A, 32 octets."""
    request: bytes
    """The request's `<x/>`, serialised."""
    agreement: Agreement
    kept: Retained = field(repr=False)
    matched: RetainedSecret | None = field(repr=False)

    def keys_of(self, role: Role) -> DirectionKeys:
        """The final keys of what a role sends."""
        final = keys.final_key(self.shared, self.matched.secret if self.matched else None)
        return keys.direction_keys(final, role, TRAITS[self.profile])

    def established(self, response_form: bytes) -> Established:
        """The session, not yet confirmed by a stanza of the peer's, and the new retained secret.

        `response_form` is formB, normalised.
        """
        final = keys.final_key(self.shared, self.matched.secret if self.matched else None)
        verified = self.matched is not None and self.matched.verified
        secret = RetainedSecret(retained.new_secret(final), verified)
        return Established(self._session(secret, response_form), secret)

    def _session(self, secret: RetainedSecret, response_form: bytes) -> Session:
        traits = TRAITS[self.profile]
        peer = Role.RESPONDER if self.role is Role.INITIATOR else Role.INITIATOR
        own_keys, peer_keys = self.keys_of(self.role), self.keys_of(peer)
        return Session(
            agreed=self._agreed(secret, response_form),
            sending=SendingDirection(own_keys.cipher, own_keys.mac, self._after_identity(self.role)),
            receiving=ReceivingDirection(
                peer_keys.cipher, peer_keys.mac, self._after_identity(peer), traits.first_block, traits.runs_on
            ),
        )

    def _agreed(self, secret: RetainedSecret, response_form: bytes) -> Agreed:
        chain = Chain.CONTINUED if self.matched else Chain.BROKEN if self.kept.secrets else Chain.FIRST
        return Agreed(
            role=self.role,
            profile=self.profile,
            sas=short_authentication_string(self.initiator_mac, response_form),
            chain=chain,
            verified=secret.verified,
            logging=self.agreement.logging,
            disclosure=self.agreement.disclosure,
            request_mark=sha256(self.request)[:8],
            secret_identity=retained.identity_of(secret.secret),
            replaced_identity=retained.identity_of(self.matched.secret) if self.matched else None,
        )

    def _after_identity(self, role: Role) -> bytes:
        first = self.counter if role is Role.INITIATOR else keys.responder_counter(self.counter)
        return keys.counter_octets(first + IDENTITY_BLOCKS)
