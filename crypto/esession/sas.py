"""The short authentication string sas28x5 (XEP-0116, "The sas28x5 SAS Algorithm")."""

from crypto.esession.suite import Suite

DIGITS = "acdefghikmopqruvwxy123456789"
LENGTH = 5


_PLAIN = Suite()
_LABEL = b"Short Authentication String"


def short_authentication_string(initiator_mac: bytes, response_form: bytes, suite: Suite = _PLAIN) -> str:
    """Five characters that both users compare: equal when nobody stands between.

    `initiator_mac` is M_A; `response_form` is formB, the normalised answer of the responder. Somebody between who is
    quick has more than one try, see `bound_string`.
    """
    return _digits(suite.digest(initiator_mac, response_form, _LABEL))


def bound_string(public: bytes, request_form: bytes, response_form: bytes, suite: Suite) -> str:
    """The same of values that are all fixed before the responder answers: one chance in 2^24 to err, once.

    `public` is e, to which the request commits by its hash; the forms are formA and formB (docs/decisions/0089).
    """
    return _digits(suite.digest(suite.digest(request_form), suite.digest(response_form), public, _LABEL))


def _digits(digest: bytes) -> str:
    number = int.from_bytes(digest[-3:], "big")
    string = ""
    for _ in range(LENGTH):
        number, digit = divmod(number, len(DIGITS))
        string = DIGITS[digit] + string
    return string


def without_leading_zeros(string: str) -> str:
    """The string as the deployed implementation shows it: without leading `a`, which is the digit zero."""
    return string.lstrip(DIGITS[0])
