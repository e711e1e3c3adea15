"""What an end remembers so that either can make new keys (XEP-0200, "Re-Key Exchange")."""

from dataclasses import dataclass, field

from crypto.esession import names
from crypto.esession.profiles import Profile


@dataclass(frozen=True, slots=True)
class RekeyPolicy:
    """When we make new keys without being asked, and for how long the old ones wait (docs/decisions/0090)."""

    stanzas: int = 100
    """After so many stanzas, sent and received, since our last `<key/>`; never more often than was agreed."""
    interval_ms: int = 600_000
    """After so long, if content was exchanged in that time."""
    blocks: int = 1 << 24
    """After so many blocks (256 MiB) under the keys in use, both directions together."""
    grace_ms: int = 600_000
    """How long a `<key/>` may stay unanswered before the values older than it are destroyed."""
    outstanding: int = 8
    """How many `<key/>` may be unanswered at once."""


POLICY = RekeyPolicy()


@dataclass(frozen=True, slots=True)
class KeySet:
    """One of the sets of values {x, KC_B, KM_B}: ours, and what the peer sends with when it has received it."""

    secret: bytes = field(repr=False)
    cipher_key: bytes = field(repr=False)
    mac_key: bytes = field(repr=False)
    sent_ms: int
    """When its `<key/>` was sent; 0 when that is not known."""


@dataclass(frozen=True, slots=True)
class RetiredKey:
    """A MAC key that we do not send with any more."""

    mac_key: bytes = field(repr=False)
    safe_at: int
    """Once the peer holds our `<key/>` of this number, it has verified every stanza under this MAC key."""


@dataclass(frozen=True, slots=True)
class Rekeying:
    """Secrets, sets of values and counts of a session whose ends re-key. `begin` makes the first."""

    secret: bytes = field(repr=False)
    """x of the oldest set of values; its KC and KM are those of the session's receiving direction."""
    peer_public: bytes
    """The newest public value of the peer's."""
    frequency: int
    """The agreed least number of stanzas between two `<key/>` of one end."""
    mixed: bytes | None = field(default=None, repr=False)
    """Of a hybrid session: what goes into every new key besides the Diffie-Hellman result (docs/decisions/0091)."""
    newer: tuple[KeySet, ...] = ()
    """The other sets of values, oldest first: their `<key/>` are sent, and not known to be received."""
    sent: int = 0
    """Number of `<key/>` we sent."""
    confirmed: int = 0
    """How many of them the peer has said that it received."""
    received: int = 0
    """Number of `<key/>` we received."""
    untold: int = 0
    """How many of them we have not told the peer of in a `<new/>`."""
    exchanged: int = 0
    """Stanzas sent and received since our last `<key/>`."""
    contents: int = 0
    """Those of them that had content."""
    total: int = 0
    """Stanzas sent and received."""
    since_ms: int = 0
    """When our newest secret came into use; 0 when that is not known."""
    retired: tuple[RetiredKey, ...] = ()
    publishable: tuple[bytes, ...] = field(default=(), repr=False)
    """MAC keys to be published with the next stanza: every stanza under them was received and verified."""

    @classmethod
    def begin(
        cls,
        own_secret: bytes,
        peer_public: bytes,
        *,
        frequency: int = names.REKEY_FREQUENCY,
        profile: Profile = Profile.LETTER,
        mixed: bytes | None = None,
    ) -> "Rekeying | None":
        """From the Diffie-Hellman values of the negotiation: our secret (x or y) and the peer's public value (d or e).

        `frequency`: the agreed `rekey_freq`. `mixed`: of a hybrid session the result of `rekeying.mixed_of`, else None.
        None when the ends do not re-key: the largest `rekey_freq` means never, and the deployed implementation cannot.
        """
        if profile is Profile.DEPLOYED or frequency >= names.REKEY_FREQUENCY:
            return None
        return cls(own_secret, peer_public, frequency, mixed)

    @property
    def oldest(self) -> int:
        """The number of the `<key/>` of the oldest set that is still held; 0 is the negotiation."""
        return self.sent - len(self.newer)

    def with_sent(self, content: bool, now_ms: int) -> "Rekeying":
        """After a stanza of ours: what was to be told is told."""
        return self._counted(content, since_ms=self.since_ms or now_ms, untold=0, publishable=())

    def with_received(self, content: bool) -> "Rekeying":
        """After a stanza of the peer's."""
        return self._counted(content, since_ms=self.since_ms, untold=self.untold, publishable=self.publishable)

    def _counted(self, content: bool, *, since_ms: int, untold: int, publishable: tuple[bytes, ...]) -> "Rekeying":
        """In every stanza's path: written out, since `replace` is four times slower."""
        return Rekeying(
            self.secret,
            self.peer_public,
            self.frequency,
            self.mixed,
            self.newer,
            self.sent,
            self.confirmed,
            self.received,
            untold,
            self.exchanged + 1,
            self.contents + content,
            self.total + 1,
            since_ms,
            self.retired,
            publishable,
        )
