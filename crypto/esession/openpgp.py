"""OpenPGP certificates that vouch for a key: it is one of their live keys (RFC 9580, section 10.1).

The operator configures a certificate for one JID, so user IDs are not compared and certifications by others are not
looked at. A key is live when the primary key says so now: self-signatures with SHA-2 or SHA-3, not expired, not
revoked for whatever reason. Where certificates leave room, the stricter reading counts.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA3_256, SHA3_512, SHA256, SHA384, SHA512, Hash, HashAlgorithm

from crypto.esession import openpgp_packets as packets
from crypto.esession.identities import PublicIdentity, library_key
from crypto.esession.key_values import SignAlgorithm
from crypto.esession.openpgp_packets import KeyPacket, MalformedCertificate, SignaturePacket

_HASHES: dict[int, Callable[[], HashAlgorithm]] = {8: SHA256, 9: SHA384, 10: SHA512, 12: SHA3_256, 14: SHA3_512}
_ALGORITHMS = {
    SignAlgorithm.RSA: frozenset({packets.RSA, packets.RSA_SIGN}),
    SignAlgorithm.ED25519: frozenset({packets.ED25519, packets.EDDSA_LEGACY}),
}
_POSITIVE = frozenset({0x10, 0x11, 0x12, 0x13})
_SUBKEY, _BACK, _DIRECT, _KEY_GONE, _SUBKEY_GONE, _USER_GONE = 0x18, 0x19, 0x1F, 0x20, 0x28, 0x30
_CREATED, _EXPIRES, _KEY_EXPIRES, _FLAGS, _EMBEDDED = 2, 3, 9, 27, 32
_SIGN, _AUTHENTICATE = 0x02, 0x20
_NOTATION = 20
_UNDERSTOOD = frozenset(range(2, 40)) - {_NOTATION}


class OpenPgpFlaw(StrEnum):
    """Why a certificate does not vouch."""

    UNREADABLE = "openpgp-unreadable"
    OTHER_KEY = "openpgp-for-another-key"
    REVOKED = "openpgp-revoked"
    NOT_VALID_NOW = "openpgp-not-valid-now"
    NOT_FOR_SIGNING = "openpgp-not-for-signing"
    NOT_BOUND = "openpgp-key-not-bound"
    """No self-signature that counts binds the key."""


@dataclass(frozen=True, slots=True)
class Component:
    """A key, a user ID or an attribute, with the signatures that follow it."""

    hashed: bytes = field(repr=False)
    """What signatures cover of it; empty for the primary key itself."""
    key: KeyPacket | None
    signatures: tuple[SignaturePacket, ...] = field(default=(), repr=False)


class _Refused(Exception):
    def __init__(self, flaw: OpenPgpFlaw) -> None:
        super().__init__()
        self.flaw = flaw


def flaw(octets: bytes, public: PublicIdentity, now_s: int) -> OpenPgpFlaw | None:
    """Why the certificate (binary or armoured) does not vouch for the key at `now_s`; None if it does."""
    try:
        primary, *others = read(octets)
        _check(primary, others, public, now_s)
    except _Refused as refused:
        return refused.flaw
    except MalformedCertificate:
        return OpenPgpFlaw.UNREADABLE
    return None


def read(octets: bytes) -> list[Component]:
    """The components of the one certificate in the octets, the primary key first. Raises MalformedCertificate."""
    found: list[Component] = []
    for kind, body in packets.packets(packets.binary(octets)):
        if not found and kind != packets.PUBLIC_KEY:
            raise MalformedCertificate
        if kind in packets.SKIPPED or kind >= packets.NON_CRITICAL:
            continue
        if kind == packets.SIGNATURE:
            signature = packets.signature_packet(body)
            if signature is not None:
                found[-1] = replace(found[-1], signatures=(*found[-1].signatures, signature))
        elif kind == packets.PUBLIC_KEY and found:  # a second certificate: whose is the key then?
            raise MalformedCertificate
        else:
            found += _component(kind, body)
    if not found:
        raise MalformedCertificate
    return found


def _component(kind: int, body: bytes) -> list[Component]:
    if kind == packets.PUBLIC_KEY:
        return [Component(b"", packets.key_packet(body))]
    if kind == packets.PUBLIC_SUBKEY:
        key = packets.key_packet(body)
        return [Component(key.hashed(), key)]
    length = len(body).to_bytes(4, "big")
    if kind == packets.USER_ID:
        return [Component(b"\xb4" + length + body, None)]
    if kind == packets.USER_ATTRIBUTE:
        return [Component(b"\xd1" + length + body, None)]
    raise MalformedCertificate


# ---------------------------------------------------------------------------------------------------- liveness
def _check(primary: Component, others: list[Component], public: PublicIdentity, now_s: int) -> None:
    assert primary.key is not None
    holder = primary.key.public
    if holder is None:
        raise _Refused(OpenPgpFlaw.NOT_BOUND)
    certificate = _Certificate(primary.key, holder, now_s)
    certificate.require_primary(primary, [o for o in others if o.key is None])
    if public == holder:
        return
    subkey = next((o for o in others if o.key is not None and o.key.public == public), None)
    if subkey is None:
        raise _Refused(OpenPgpFlaw.OTHER_KEY)
    certificate.require_subkey(subkey)


@dataclass(frozen=True, slots=True)
class _Certificate:
    primary: KeyPacket
    holder: PublicIdentity
    now_s: int

    def require_primary(self, own: Component, users: Iterable[Component]) -> None:
        """That the primary key is live. It always signs: it certifies at least."""
        if self._revoked(own, _KEY_GONE):
            raise _Refused(OpenPgpFlaw.REVOKED)
        latest = [self._latest(own, frozenset({_DIRECT}))]
        latest += [self._latest(user, _POSITIVE) for user in users if not self._user_gone(user)]
        counting = [s for s in latest if s is not None]
        if not counting:
            raise _Refused(OpenPgpFlaw.NOT_BOUND)
        for signature in counting:  # the strictest counts: a key that was prolonged says so in all of them
            self._require_unexpired(self.primary, signature)

    def require_subkey(self, subkey: Component) -> None:
        """That a subkey is live, and signs or authenticates."""
        assert subkey.key is not None
        if self._revoked(subkey, _SUBKEY_GONE):
            raise _Refused(OpenPgpFlaw.REVOKED)
        binding = self._latest(subkey, frozenset({_SUBKEY}))
        if binding is None:
            raise _Refused(OpenPgpFlaw.NOT_BOUND)
        self._require_unexpired(subkey.key, binding)
        flags = (binding.octets(_FLAGS) or b"\0")[:1] or b"\0"
        if not flags[0] & (_SIGN | _AUTHENTICATE):
            raise _Refused(OpenPgpFlaw.NOT_FOR_SIGNING)
        if flags[0] & _SIGN and not self._signed_back(subkey, binding):
            raise _Refused(OpenPgpFlaw.NOT_BOUND)

    def _require_unexpired(self, key: KeyPacket, signature: SignaturePacket) -> None:
        lifetime_s = signature.number(_KEY_EXPIRES) or 0
        if key.created_s > self.now_s or (lifetime_s and key.created_s + lifetime_s <= self.now_s):
            raise _Refused(OpenPgpFlaw.NOT_VALID_NOW)

    def _user_gone(self, user: Component) -> bool:
        """Whether a revocation of a user ID is not older than its latest certification."""
        gone = max((s.number(_CREATED) or 0 for s in self._made(user, {_USER_GONE})), default=-1)
        latest = self._latest(user, _POSITIVE)
        return latest is not None and gone >= (latest.number(_CREATED) or 0)

    def _latest(self, component: Component, kinds: frozenset[int]) -> SignaturePacket | None:
        """The latest self-signature that is neither expired nor of the future."""
        live = [s for s in self._made(component, kinds) if _is_live(s, self.now_s)]
        return max(live, key=lambda s: s.number(_CREATED) or 0, default=None)

    def _made(self, component: Component, kinds: Iterable[int]) -> list[SignaturePacket]:
        """The signatures of these kinds that the primary key made over the component."""
        target = self.primary.hashed() + component.hashed
        return [s for s in component.signatures if s.kind in kinds and _verifies(s, self.holder, target)]

    def _revoked(self, component: Component, kind: int) -> bool:
        """Whether a revocation is the primary key's, or one that we cannot check: then it counts as well."""
        target = self.primary.hashed() + component.hashed
        return any(
            s.kind == kind and (not _is_known(s) or not _fits(s, self.holder) or _verifies(s, self.holder, target))
            for s in component.signatures
        )

    def _signed_back(self, subkey: Component, binding: SignaturePacket) -> bool:
        """Whether the subkey agreed to belong here (section 10.1.5)."""
        assert subkey.key is not None
        target = self.primary.hashed() + subkey.hashed
        for kind, _, content in binding.hashed + binding.unhashed:
            back = packets.signature_packet(content) if kind == _EMBEDDED else None
            if back is None or back.kind != _BACK or not _is_live(back, self.now_s):
                continue
            if subkey.key.public is not None and _verifies(back, subkey.key.public, target):
                return True
        return False


def _is_live(signature: SignaturePacket, now_s: int) -> bool:
    created_s, lifetime_s = signature.number(_CREATED), signature.number(_EXPIRES) or 0
    return created_s is not None and created_s <= now_s and not (lifetime_s and created_s + lifetime_s <= now_s)


def _is_known(signature: SignaturePacket) -> bool:
    """Whether its hash and its critical subpackets are among those that we know."""
    strange = any(critical and kind not in _UNDERSTOOD for kind, critical, _ in signature.hashed)
    return signature.hash_id in _HASHES and not strange


def _fits(signature: SignaturePacket, holder: PublicIdentity) -> bool:
    """Whether its algorithm is that of the key."""
    return signature.algorithm in _ALGORITHMS[holder.algorithm]


def _verifies(signature: SignaturePacket, holder: PublicIdentity, target: bytes) -> bool:
    """Whether the signature is the holder's over the target, with a hash and subpackets that we know."""
    if not _is_known(signature) or not _fits(signature, holder):
        return False
    kind = _HASHES[signature.hash_id]
    whole = Hash(kind())
    whole.update(signature.salt + target + signature.trailer)
    digest, key = whole.finalize(), library_key(holder)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            octets = signature.value.rjust((key.key_size + 7) // 8, b"\0")
            key.verify(octets, digest, PKCS1v15(), Prehashed(kind()))
        else:
            assert isinstance(key, Ed25519PublicKey)
            key.verify(signature.value, digest)
    except (InvalidSignature, ValueError):
        return False
    return True
