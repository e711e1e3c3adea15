"""What sessions with a peer have been like, so that a weaker one is noticed (docs/decisions/0088).

Within one negotiation nobody can remove an option unnoticed: both forms are authenticated. But whoever stands between
from the beginning negotiates with each end by itself, and a peer may lose an ability: what was there before and is not
any more is a warning for the user, as a changed key is.
"""

from dataclasses import dataclass
from enum import StrEnum

from crypto.esession import names
from crypto.esession.profiles import TRAITS, Profile
from crypto.esession.session import Agreed

GROUP_STRENGTH = {"5": 90, "14": 112, "15": 128, "x25519": 128, "16": 152, "17": 176, "18": 200}
"""Bits of work against each group (NIST SP 800-57 and its guidance on safe primes; group 5 by RFC 3766)."""


class Weakening(StrEnum):
    """What a session does not have that an earlier one with the same peer had."""

    HYBRID = "hybrid"
    """It is open to a later quantum computer."""
    GROUP = "group"
    CIPHER = "cipher"
    HASH = "hash"
    PUBLIC_KEY = "public-key"
    """The peer shows no public key (XEP-0116, "Key Associations", demands an alert)."""
    PASSWORD = "password"  # noqa: S105
    STRING = "string"
    """The string to compare is of the kind that somebody between can try out."""
    REKEYING = "rekeying"
    STANZAS = "stanzas"
    """Fewer kinds of stanzas are encrypted."""
    PROFILE = "profile"
    """The peer reads the specifications as the deployed implementation does, which it did not before."""


@dataclass(frozen=True, slots=True)
class Strength:
    """The best that sessions with one peer have had. Storable."""

    hybrid: bool = False
    group: int = 0
    cipher: int = 0
    """Octets of the cipher key that is really used."""
    hash: int = 0
    """Octets of the hash."""
    public_key: bool = False
    password: bool = False
    string: bool = False
    rekeying: bool = False
    stanzas: int = 0
    """How many kinds of stanzas are encrypted."""
    letter: bool = False
    three_message: bool = False
    """Whether one was negotiated in 3 messages: for the caller, which may ask for that again."""


def strength(agreed: Agreed) -> Strength:
    """What this session has."""
    cipher = TRAITS[agreed.profile].cipher_key
    return Strength(
        hybrid=agreed.hybrid,
        group=GROUP_STRENGTH.get(agreed.suite.group, 0),
        cipher=cipher if cipher == 32 else agreed.suite.key_octets(),
        hash=agreed.suite.hash_octets,
        public_key=agreed.peer_fingerprint is not None,
        password=agreed.password,
        string=agreed.sas_bound,
        rekeying=agreed.rekey_freq < names.REKEY_FREQUENCY and agreed.profile is not Profile.DEPLOYED,
        stanzas=len(agreed.stanzas),
        letter=agreed.profile is not Profile.DEPLOYED,
        three_message=agreed.three_message,
    )


def best(before: Strength | None, agreed: Agreed) -> Strength:
    """What to remember from now on. Call it only for sessions that count: confirmed by a stanza of the peer's."""
    now = strength(agreed)
    if before is None:
        return now
    return Strength(
        hybrid=before.hybrid or now.hybrid,
        group=max(before.group, now.group),
        cipher=max(before.cipher, now.cipher),
        hash=max(before.hash, now.hash),
        public_key=before.public_key or now.public_key,
        password=before.password or now.password,
        string=before.string or now.string,
        rekeying=before.rekeying or now.rekeying,
        stanzas=max(before.stanzas, now.stanzas),
        letter=before.letter or now.letter,
        three_message=before.three_message or now.three_message,
    )


def weakenings(before: Strength | None, agreed: Agreed) -> tuple[Weakening, ...]:
    """What earlier sessions with this peer had and this one has not; nothing for the first one.

    After 3 messages there is no string to compare, which is not counted: the peer has shown its key.
    """
    if before is None:
        return ()
    now = strength(agreed)
    lost = {
        Weakening.HYBRID: before.hybrid and not now.hybrid,
        Weakening.GROUP: now.group < before.group,
        Weakening.CIPHER: now.cipher < before.cipher,
        Weakening.HASH: now.hash < before.hash,
        Weakening.PUBLIC_KEY: before.public_key and not now.public_key,
        Weakening.PASSWORD: before.password and not now.password,
        Weakening.STRING: before.string and not now.string and not now.three_message,
        Weakening.REKEYING: before.rekeying and not now.rekeying,
        Weakening.STANZAS: now.stanzas < before.stanzas,
        Weakening.PROFILE: before.letter and not now.letter,
    }
    return tuple(kind for kind, is_lost in lost.items() if is_lost)
