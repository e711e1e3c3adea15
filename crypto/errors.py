"""Errors of everything inside, split by blame first.

Sentences are constant; data sits in typed fields that are safe to log.
"""


class InsideError(Exception):
    """Base of the errors raised inside."""


class Misuse(InsideError):
    """Our own caller broke the contract of a function."""


class PeerFault(InsideError):
    """What came from a peer, or from the network that claims to be one, is not acceptable."""


class Malformed(PeerFault):
    """It cannot be read."""


class Unauthentic(PeerFault):
    """It does not prove what it should prove. All causes look the same from outside."""
