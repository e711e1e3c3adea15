"""What we offer, what we choose of an offer, and whether an answer keeps to what was offered (XEP-0155, 0116, 0217)."""

from crypto.esession.checking import require_acceptable
from crypto.esession.choosing import choose
from crypto.esession.offering import write_request
from crypto.esession.policy import DEFAULT_GROUPS, LARGEST, NONCE_MAX, NONCE_MIN, Agreement, Choice, Terms

__all__ = [
    "DEFAULT_GROUPS",
    "LARGEST",
    "NONCE_MAX",
    "NONCE_MIN",
    "Agreement",
    "Choice",
    "Terms",
    "choose",
    "require_acceptable",
    "write_request",
]
