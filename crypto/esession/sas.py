"""The short authentication string sas28x5 (XEP-0116, "The sas28x5 SAS Algorithm")."""

from crypto.primitives.ciphers import sha256

DIGITS = "acdefghikmopqruvwxy123456789"
LENGTH = 5


def short_authentication_string(initiator_mac: bytes, response_form: bytes) -> str:
    """Five characters that both users compare: equal when nobody stands between (one chance in 2^24 to err).

    `initiator_mac` is M_A, 32 octets; `response_form` is formB, the normalised answer of the responder.
    """
    digest = sha256(initiator_mac, response_form, b"Short Authentication String")
    number = int.from_bytes(digest[-3:], "big")
    string = ""
    for _ in range(LENGTH):
        number, digit = divmod(number, len(DIGITS))
        string = DIGITS[digit] + string
    return string


def without_leading_zeros(string: str) -> str:
    """The string as the deployed implementation shows it: without leading `a`, which is the digit zero."""
    return string.lstrip(DIGITS[0])
