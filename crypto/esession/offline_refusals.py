"""Why options or offline stanzas are refused (XEP-0187). Nobody is told: this negotiation has no error stanzas."""

from enum import StrEnum

from crypto.errors import PeerFault


class OfflineFlaw(StrEnum):
    """What is wrong. Codes that may be counted; none of them says anything about a key."""

    MALFORMED = "malformed"
    """A form, or a field of it, is missing, doubled or absurd."""
    UNACCEPTABLE = "unacceptable"
    """Nothing that is offered can be used, or what was chosen was not offered."""
    EXPIRED = "expired"
    """The options' time is over (or not plausible): nothing may be encrypted to them, nothing decrypted by them."""
    UNSIGNED = "unsigned"
    """No signature of the options is right under a key of the publisher's that is known."""
    MISDIRECTED = "misdirected"
    """The options, or the stanza, were made for another address, resource or set of options."""
    UNKNOWN_OPTIONS = "unknown-options"
    """The stanza names options that there are not: never published, withdrawn, destroyed."""
    REPLAYED = "replayed"
    """The sender's public value or nonce was accepted before."""
    USED_UP = "used-up"
    """The set of options has served as many negotiations as are remembered."""
    OUT_OF_RANGE = "out-of-range"
    """A public value lies outside what honest peers send."""
    UNPROVED = "unproved"
    """MAC or signature do not fit: changed on the way, or the sender does not hold the key it shows."""
    CONTENT = "content"
    """The encrypted content is not what the sender sealed next, or cannot be read."""


class OfflineRefusal(PeerFault):
    """Options or a stanza are not taken. The sentence is constant, `flaw` is safe to log."""

    def __init__(self, flaw: OfflineFlaw) -> None:
        super().__init__("offline options or an offline stanza are refused")
        self.flaw = flaw
