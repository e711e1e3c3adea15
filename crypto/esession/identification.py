"""Identifying the two ends inside a negotiation: MAC, or public key and signature (XEP-0116, "Hiding Identity")."""

from collections.abc import Callable
from dataclasses import dataclass, field

from crypto.errors import InsideError, Misuse
from crypto.esession.identities import Identity, KeyNotAccepted, PublicIdentity, SignatureInvalid, verify
from crypto.esession.key_values import MalformedKey, SignAlgorithm
from crypto.esession.policy import Agreement, Terms
from crypto.esession.presented import Identification, MalformedIdentity, Presented, present, read_presented
from crypto.esession.refusals import KeyRefused, UnknownKey, Unproved
from crypto.esession.suite import Suite
from crypto.primitives.ciphers import same

Judge = Callable[[PublicIdentity | None, tuple[bytes, ...]], None]
"""Given the peer's proved public key (None: it has shown none) and its certificates; raises KeyRefused to stop."""


def anyone(_public: PublicIdentity | None, _certificates: tuple[bytes, ...]) -> None:
    """The judge that lets everybody pass: who it is, is for the user to find out."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a peer has identified itself with."""

    peer: PublicIdentity | None = None
    certificates: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Own:
    """How we identify ourselves: with a key, or with the MAC alone."""

    how: Identification
    identity: Identity | None
    suite: Suite

    @property
    def key(self) -> bytes:
        """pubKey as the proof covers it."""
        return self.identity.public.key_value if self.identity else b""

    def content(self, proof: bytes) -> bytes:
        """What is encrypted in the field `identity`."""
        if self.identity is None:
            return proof
        return present(self.identity, proof, self.how, hash_name=self.suite.hash)


def own_identification(agreement: Agreement, terms: Terms, *, initiator: bool) -> Own:
    """How we identify ourselves, as agreed. Raises Misuse when the terms do not have the key that was offered."""
    how = Identification(agreement.initiator_key if initiator else agreement.responder_key)
    if how is Identification.NONE:
        return Own(how, None, agreement.suite)
    fitting = [identity for identity in terms.identities if identity.public.algorithm is agreement.signing]
    if not fitting:
        raise Misuse("the terms have no identity of the agreed signature algorithm")
    return Own(how, fitting[0], agreement.suite)


@dataclass(frozen=True, slots=True)
class Expected:
    """How the peer must identify itself."""

    how: Identification
    field: str
    """The field in which that was agreed."""
    signing: SignAlgorithm | None
    known: tuple[PublicIdentity, ...]
    suite: Suite

    def shown(self, content: bytes, proof: Callable[[bytes], bytes]) -> Shown:
        """What the decrypted `content` proves; `proof` gives mac_A or mac_B for a pubKey.

        When it returns, the peer knows K and saw and sent the same forms; with a key also: it holds the private key.
        Raises Unproved; UnknownKey for a fingerprint of which we do not hold the key; KeyRefused for a key that is too
        weak or of no kind that is accepted.
        """
        if self.how is Identification.NONE:
            if not same(content, proof(b"")):
                raise Unproved
            return Shown()
        presented = self._presented(content)
        public = presented.public or self._known(presented.fingerprint or b"")
        if public.algorithm is not self.signing:
            raise Unproved
        if _fails(lambda: verify(public, proof(public.key_value), presented.signature)):
            raise Unproved
        return Shown(public, presented.certificates)

    def _presented(self, content: bytes) -> Presented:
        accepted = {self.signing} if self.signing else set()
        refused: InsideError
        try:
            return read_presented(content, self.how, hash_octets=self.suite.hash_octets, accepted=accepted)
        except (MalformedIdentity, MalformedKey):
            refused = Unproved()
        except KeyNotAccepted:
            refused = KeyRefused(self.field)
        raise refused

    def _known(self, fingerprint: bytes) -> PublicIdentity:
        for public in self.known:
            if same(public.fingerprint(self.suite.hash), fingerprint):
                return public
        raise UnknownKey(self.field)


def expected(agreement: Agreement, terms: Terms, *, initiator: bool) -> Expected:
    """How the peer must identify itself, as agreed; `initiator`: whether the peer is the initiator."""
    how = Identification(agreement.initiator_key if initiator else agreement.responder_key)
    field_name = "init_pubkey" if initiator else "resp_pubkey"
    return Expected(how, field_name, agreement.signing, terms.known_keys, agreement.suite)


def _fails(check: Callable[[], None]) -> bool:
    try:
        check()
    except (SignatureInvalid, KeyNotAccepted, MalformedKey):
        return True
    return False
