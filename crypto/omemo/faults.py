"""What can be wrong with something of OMEMO's. `code` is safe to report; outside they all look the same."""

from crypto.errors import PeerFault


class OmemoError(PeerFault):
    """Base: the input was refused, and nothing was changed by it.

    `lost`: a message of its sender's may be lost by that.
    """

    code = "omemo-error"
    lost = False

    def __init__(self) -> None:
        super().__init__("something of OMEMO's was refused")


class Malformed(OmemoError):
    """It does not have the form that the specification gives."""

    code = "malformed"


class NotForUs(OmemoError):
    """The message holds nothing for this device."""

    code = "not-for-us"


class NoSession(OmemoError):
    """There is no session with that device, and nothing to make one from."""

    code = "no-session"
    lost = True


class UnknownPreKey(OmemoError):
    """A session is to be made with a prekey that was used before, or is too old, or never was."""

    code = "unknown-prekey"
    lost = True


class Undecryptable(OmemoError):
    """No session opens it."""

    code = "undecryptable"
    lost = True


class TooManySkipped(OmemoError):
    """More messages are missing before it than are made up for."""

    code = "too-many-skipped"
    lost = True


class Replayed(OmemoError):
    """Its place in the ratchet was used before."""

    code = "replayed"


class WrongIdentity(OmemoError):
    """The identity key is not the one that is known of this device."""

    code = "identity-changed"
    lost = True


class BadBundle(OmemoError):
    """The bundle is not signed by its identity key, or holds keys that are none."""

    code = "bad-bundle"


class WrongParty(OmemoError):
    """Sender or recipient named inside the ciphertext are not those outside."""

    code = "wrong-party"
    lost = True
