"""Retained secrets: what two clients keep of a session to recognise each other in the next (XEP-0116)."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from crypto.esession.suite import Suite
from crypto.primitives.ciphers import same, sha256

MAX_SECRETS = 8
"""Secrets kept for one bare JID: one per client of the peer's, twice while a new one is not confirmed."""
MAX_VERIFIED = MAX_SECRETS - 1
"""Verified ones among them: none of these gives way to an unverified one, of which anybody can make many."""
SENT_HASHES = 10
"""Hashes sent in `rshashes`, always: random ones fill up, so that the number of secrets is not seen."""
HASH = 32
"""Octets of a value with the hash that every peer has."""
PLAIN = Suite()


class Chain(StrEnum):
    """How a session is linked to earlier ones."""

    FIRST = "first"
    """Nothing was kept for this peer."""
    CONTINUED = "continued"
    """A retained secret is shared: whoever stands between now stood there in every earlier session."""
    BROKEN = "broken"
    """Secrets were kept, the peer shares none of them: a new client, lost data, or somebody in between."""


@dataclass(frozen=True, slots=True)
class RetainedSecret:
    """HMAC(K, "New Retained Secret") of a session; `verified`: a user compared the SAS somewhere along its chain."""

    secret: bytes = field(repr=False)
    verified: bool = False


@dataclass(frozen=True, slots=True)
class Retained:
    """The secrets kept for one bare JID, newest first."""

    secrets: tuple[RetainedSecret, ...] = ()
    compared: bool = False
    """Whether a user compared the SAS of a session with this peer, also when its secret is not among them any more."""

    @property
    def demands_verified(self) -> bool:
        """Whether a session that is not linked to a verified one is suspicious."""
        return self.compared or any(k.verified for k in self.secrets)

    def shared_with_initiator(
        self, nonce: bytes, hashes: Iterable[bytes], suite: Suite = PLAIN
    ) -> RetainedSecret | None:
        """The secret of which the initiator sent the hash, by its nonce; None when there is none."""
        received = tuple(hashes)
        found = None
        for kept in self.secrets:
            own = retained_hash(nonce, kept.secret, suite)
            if any([same(own, other) for other in received]) and found is None:
                found = kept
        return found

    def shared_with_responder(self, confirmation: bytes, suite: Suite = PLAIN) -> RetainedSecret | None:
        """The secret that the responder confirmed by `srshash`; None when there is none."""
        found = None
        for kept in self.secrets:
            if same(shared_hash(kept.secret, suite), confirmation) and found is None:
                found = kept
        return found

    def added(self, new: RetainedSecret, *, replacing: bytes | None = None) -> "Retained":
        """With a new secret first. The one it replaces (its `identity_of`) comes second, until `without` it.

        Beyond the limits the oldest go: of those not verified first, and never the new one.
        """
        replaced = tuple(k for k in self.secrets if identity_of(k.secret) == replacing)
        others = tuple(k for k in self.secrets if k not in replaced)
        return replace(self, secrets=_bounded((new, *replaced, *others)))

    def without(self, identity: bytes | None) -> "Retained":
        """Without the secret of that `identity_of`."""
        return replace(self, secrets=tuple(k for k in self.secrets if identity_of(k.secret) != identity))

    def verified(self, identity: bytes) -> "Retained":
        """With the secret of that `identity_of` marked as verified by the user."""
        marked = (replace(k, verified=True) if identity_of(k.secret) == identity else k for k in self.secrets)
        return Retained(_bounded(tuple(marked)), compared=True)


def _bounded(secrets: tuple[RetainedSecret, ...]) -> tuple[RetainedSecret, ...]:
    """Newest first, in their order: the first, then the newest verified ones, then the newest of the others."""
    verified = [k for k in secrets if k.verified][:MAX_VERIFIED]
    first = secrets[:1] if secrets and not secrets[0].verified else ()
    others = [k for k in secrets[len(first) :] if not k.verified]
    room = MAX_SECRETS - len(verified) - len(first)
    kept = (*first, *verified, *others[:room])
    return tuple(k for k in secrets if k in kept)


def identity_of(secret: bytes) -> bytes:
    """Eight octets that name a secret without telling it."""
    return sha256(b"lockgate retained secret", secret)[:8]


def retained_hash(nonce: bytes, secret: bytes, suite: Suite = PLAIN) -> bytes:
    """One value of `rshashes`: HMAC keyed by the initiator's nonce, so that it says nothing to others."""
    return suite.hmac(nonce, secret)


def shared_hash(secret: bytes, suite: Suite = PLAIN) -> bytes:
    """The value of `srshash`."""
    return suite.hmac(secret, b"Shared Retained Secret")


def new_secret(session_key: bytes, suite: Suite = PLAIN) -> bytes:
    """The secret that a session leaves for the next one; `session_key` is the final K."""
    return suite.hmac(session_key, b"New Retained Secret")
