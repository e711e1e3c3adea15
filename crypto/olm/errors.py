"""What can be wrong with something of Olm's or Megolm's. Constant sentences; `code` is safe to report.

Split by blame: everything here is the fault of a peer, of a server or of whoever stands between.
"""


class OlmError(Exception):
    """Base: the input was refused and no state was changed by it."""

    code = "olm-error"
    sentence = "The input was refused."

    def __init__(self) -> None:
        super().__init__(self.sentence)


class Malformed(OlmError):
    """It does not have the form that the specification gives."""

    code = "malformed"
    sentence = "The input does not have the form that the specification gives."


class UnknownAlgorithm(OlmError):
    """It asks for an algorithm that this machine does not speak."""

    code = "unknown-algorithm"
    sentence = "The algorithm is not supported."


class BadSignature(OlmError):
    """A signature is missing or does not verify."""

    code = "bad-signature"
    sentence = "A signature is missing or does not verify."


class Undecryptable(OlmError):
    """No session opens it."""

    code = "undecryptable"
    sentence = "No session opens this message."


class WrongParty(OlmError):
    """Sender, recipient, keys or room inside the ciphertext are not those outside."""

    code = "wrong-party"
    sentence = "The parties named inside the ciphertext are not those outside."


class Replayed(OlmError):
    """This place of a ratchet was used by another event already."""

    code = "replayed"
    sentence = "This message index was used by another event before."


class TooLarge(OlmError):
    """It would not fit into an event."""

    code = "too-large"
    sentence = "The message does not fit into an event."
