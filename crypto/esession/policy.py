"""What may be agreed (`Terms`), what was chosen of an offer (`Choice`), and what came of it (`Agreement`)."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from crypto.errors import Misuse
from crypto.esession import names
from crypto.esession.identities import Identity, PublicIdentity
from crypto.esession.key_values import SignAlgorithm
from crypto.esession.profiles import Profile
from crypto.esession.suite import CIPHERS, GROUPS, HASHES, KEMS, Suite
from crypto.xml import Element

DEFAULT_GROUPS = (14, 15, 16, 17, 18)
NONCE_MIN = 4
NONCE_MAX = 64
PLAIN = Suite()
COMMITMENT = 32
"""Octets of He: SHA-256 whatever hash is negotiated."""
LARGEST = 1025
"""Octets of the largest number of group 18, with one more for a sign."""
_LOGGING = ("may", "mustnot")
_DISCLOSURE = ("never", "disabled", "enabled")
_STANZAS = ("message", "presence", "iq")
_METHODS = ("key", "hash", "none")
_SHIELDS = ("initiator", "responder")


@dataclass(frozen=True, slots=True)
class Terms:
    """What may truthfully be agreed on this leg, in order of our preference. The caller decides.

    `disclosure`: `never` only if the far leg is end-to-end encrypted and nothing is archived, else `enabled`.
    `logging`: `mustnot` only if nothing is kept; `may` allows the peer to keep a log.
    `groups`: of 5 and 14 to 18, 5 only if configured; and `x25519`, an extension. As responder we take the peer's first
    MODP group that is ours too, but x25519 before all of them when it stands before all of them here.
    """

    disclosure: tuple[str, ...] = ("never",)
    logging: tuple[str, ...] = _LOGGING
    groups: tuple[int | str, ...] = DEFAULT_GROUPS
    ciphers: tuple[str, ...] = ("aes256-ctr", "aes192-ctr", "aes128-ctr")
    hashes: tuple[str, ...] = ("sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512")
    kems: tuple[str, ...] = ("ml-kem-768",)
    require_hybrid: bool = False
    """Refuse peers that do not know any of `kems`."""
    versions: tuple[str, ...] = names.VERSIONS
    sas_algs: tuple[str, ...] = (names.BOUND_SAS, names.SAS)
    stanzas: tuple[str, ...] = _STANZAS
    rekey_freq: int = 1
    """Stanzas, both ways, between two new keys of one end: the least that we ask for (docs/decisions/0090); 2^32 - 1
    means never."""
    password: bytes | None = field(default=None, repr=False)
    """The other shared secret (OSS), see `passwords.password_octets`. 3-message negotiations cannot use one."""
    identity: Identity | None = None
    """Our own signing key."""
    other_identities: tuple[Identity, ...] = ()
    """Further ones of ours, of other algorithms, for peers that do not know the first's."""
    own_keys: tuple[str, ...] | None = None
    """How we may identify ourselves: of `key`, `hash`, `none`. None: any way, with a key first if there is one."""
    peer_keys: tuple[str, ...] = ("none",)
    """How the peer may identify itself, what we like best first. `hash` needs `known_keys`."""
    known_keys: tuple[PublicIdentity, ...] = ()
    """Public keys that the peer is known to have: what it may name by its fingerprint."""
    sign_algs: tuple[SignAlgorithm, ...] = (SignAlgorithm.ED25519, SignAlgorithm.RSA)
    """Signature algorithms that we verify; DSA only for old peers, if configured."""
    three_message: bool = False
    """Whether we answer 3-message negotiations. They show our identity to whoever asks."""
    shield: str = "responder"
    """Whose identity we keep from active attackers when we begin: `initiator` means 3 messages, else 4."""

    def __post_init__(self) -> None:
        """Raises Misuse for what cannot be offered."""
        sound = (
            _choices(map(str, self.groups), GROUPS),
            all(isinstance(group, int) == str(group).isdigit() for group in self.groups),
            _choices(self.logging, _LOGGING),
            _choices(self.disclosure, _DISCLOSURE),
            _choices(self.ciphers, CIPHERS),
            _choices(self.hashes, HASHES),
            not self.kems or _choices(self.kems, KEMS),
            _choices(self.versions, names.VERSIONS),
            _choices(self.sas_algs, (names.SAS, names.BOUND_SAS)),
            _choices(self.stanzas, _STANZAS) and "message" in self.stanzas,
            _choices(self.identifying, _METHODS),
            _choices(self.peer_keys, _METHODS),
            _choices(self.sign_algs, SignAlgorithm),
            self.shield in _SHIELDS,
            0 < self.rekey_freq <= names.REKEY_FREQUENCY,
            self.identities or self.identifying == ("none",),
            not self.require_hybrid or self.kems,
            self.password is None or self.password,
        )
        if not all(sound):
            raise Misuse("terms name something that cannot be offered")

    @property
    def identities(self) -> tuple[Identity, ...]:
        """All own signing keys."""
        return (*((self.identity,) if self.identity else ()), *self.other_identities)

    @property
    def identifying(self) -> tuple[str, ...]:
        """How we may identify ourselves, what we like best first."""
        if self.own_keys is not None:
            return self.own_keys
        return _METHODS if self.identities else ("none",)

    def towards(self, profile: Profile | None) -> "Terms":
        """The terms for a request to a peer that is known to speak a profile: the others have one suite each."""
        if profile in (None, Profile.LETTER):
            return self
        ciphers = (names.PLAIN_CIPHER,) if names.PLAIN_CIPHER in self.ciphers else self.ciphers
        hashes = (names.PLAIN_HASH,) if names.PLAIN_HASH in self.hashes else self.hashes
        return replace(self, ciphers=ciphers, hashes=hashes)


def _choices(chosen: Iterable[str], among: Iterable[str]) -> bool:
    """Whether at least one is chosen, none of them twice, and all of them there."""
    found = tuple(chosen)
    return bool(found) and set(found) <= set(among) and len(set(found)) == len(found)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was agreed beside the keys."""

    logging: str = "may"
    disclosure: str = "never"
    suite: Suite = PLAIN
    stanzas: tuple[str, ...] = ("message",)
    rekey_freq: int = names.REKEY_FREQUENCY
    version: str = names.VERSION
    sas: str = names.SAS
    initiator_key: str = "none"
    """How the initiator identifies itself: `key`, `hash`, `none`."""
    responder_key: str = "none"
    signing: SignAlgorithm | None = None
    """The signature algorithm, when there are public keys."""
    three_message: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """What a responder chose of a request."""

    group: int | str
    commitment: bytes
    """He of that group, 32 octets; in a 3-message negotiation e itself."""
    peer_nonce: bytes
    agreement: Agreement
    answers: tuple[Element, ...]
    """The fields of the answer, in the order of the request."""
    kem_key: bytes | None = None
    """The initiator's public key for the key encapsulation that was chosen."""
