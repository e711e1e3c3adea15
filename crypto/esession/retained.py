"""Retained secrets: what two clients keep of a session to recognise each other in the next (XEP-0116)."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from crypto.primitives.ciphers import hmac_sha256, same, sha256

MAX_SECRETS = 8
"""Secrets kept for one bare JID: one per client of the peer's, twice while a new one is not confirmed."""
SENT_HASHES = 10
"""Hashes sent in `rshashes`, always: random ones fill up, so that the number of secrets is not seen."""
HASH = 32


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

    def shared_with_initiator(self, nonce: bytes, hashes: Iterable[bytes]) -> RetainedSecret | None:
        """The secret of which the initiator sent the hash, by its nonce; None when there is none."""
        received = tuple(hashes)
        found = None
        for kept in self.secrets:
            own = retained_hash(nonce, kept.secret)
            if any([same(own, other) for other in received]) and found is None:
                found = kept
        return found

    def shared_with_responder(self, confirmation: bytes) -> RetainedSecret | None:
        """The secret that the responder confirmed by `srshash`; None when there is none."""
        found = None
        for kept in self.secrets:
            if same(shared_hash(kept.secret), confirmation) and found is None:
                found = kept
        return found

    def added(self, new: RetainedSecret) -> "Retained":
        """With a new secret first. The one it replaces stays until `without` it."""
        return Retained((new, *self.secrets)[:MAX_SECRETS])

    def without(self, identity: bytes | None) -> "Retained":
        """Without the secret of that `identity_of`."""
        return Retained(tuple(k for k in self.secrets if identity_of(k.secret) != identity))

    def verified(self, identity: bytes) -> "Retained":
        """With the secret of that `identity_of` marked as verified by the user."""
        return Retained(
            tuple(replace(k, verified=True) if identity_of(k.secret) == identity else k for k in self.secrets)
        )


def identity_of(secret: bytes) -> bytes:
    """Eight octets that name a secret without telling it."""
    return sha256(b"lockgate retained secret", secret)[:8]


def retained_hash(nonce: bytes, secret: bytes) -> bytes:
    """One value of `rshashes`: HMAC keyed by the initiator's nonce, so that it says nothing to others."""
    return hmac_sha256(nonce, secret)


def shared_hash(secret: bytes) -> bytes:
    """The value of `srshash`."""
    return hmac_sha256(secret, b"Shared Retained Secret")


def new_secret(session_key: bytes) -> bytes:
    """The secret that a session leaves for the next one; `session_key` is the final K."""
    return hmac_sha256(session_key, b"New Retained Secret")
