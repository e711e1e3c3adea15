"""What can be wrong with an encrypted stanza, and with our own wish to send one (XEP-0200)."""

from enum import StrEnum

from crypto.errors import Malformed, Misuse, PeerFault, Unauthentic


class BadStanza(StrEnum):
    """Why a stanza whose MAC was right could not be taken."""

    CONTENT = "content"
    """Nothing in it, or no XML that a stanza may hold."""
    REKEYED = "rekeyed"
    """A `<key/>` where re-keying was not agreed."""
    REKEYED_TOO_OFTEN = "rekeyed-too-often"
    """More `<key/>` than the agreed least number of stanzas between two of them allows."""
    PUBLIC_VALUE = "public-value"
    """The `<key/>` holds a value that would force, or narrow, the shared secret."""
    EXPIRED = "expired"
    """Its `<key/>` goes with a secret of ours that was destroyed."""
    EXHAUSTED = "exhausted"
    """More blocks under one key than it may serve for."""
    KIND = "kind"
    """Encrypted in a kind of stanza that was not agreed, or that such content never stands in."""


class MalformedStanza(Malformed):
    """The `<c/>` element is not what XEP-0200 says: it is not looked at further."""

    def __init__(self) -> None:
        super().__init__("an encrypted stanza is malformed")


class UnauthenticStanza(Unauthentic):
    """The MAC does not match: tampered with, lost, reordered, or of another session."""

    def __init__(self) -> None:
        super().__init__("an encrypted stanza does not belong here")


class Repeated(PeerFault):
    """An exact repetition of one of the last 64 stanzas accepted. It changes nothing."""

    def __init__(self) -> None:
        super().__init__("an encrypted stanza was repeated")


class UnusableStanza(PeerFault):
    """The MAC is right, but the stanza cannot be taken: the session must end."""

    def __init__(self, reason: BadStanza) -> None:
        super().__init__("an authentic stanza cannot be used")
        self.reason = reason


class Exhausted(Misuse):
    """The key may not be used for more: negotiate a new session first."""

    def __init__(self) -> None:
        super().__init__("the session's key has served for as long as it may")
