"""Passwords as the other shared secret, OSS (XEP-0116, "Generating Bob's Final Session Keys"; docs/decisions/0086)."""

import unicodedata

from crypto.errors import Misuse

_FORBIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
MAX_CHARACTERS = 1024


class UnusablePassword(Misuse):
    """The configured password is empty, too long, or holds characters that cannot be typed alike everywhere."""

    def __init__(self) -> None:
        super().__init__("the password cannot be used")


def password_octets(text: str) -> bytes:
    """OSS for a password as people write it: the OpaqueString profile of RFC 8265, as UTF-8.

    Spaces of any kind count as U+0020, then normalisation form C; case and inner spaces count. White space around it
    does not: files end with it. Raises UnusablePassword.
    """
    spaced = "".join(" " if unicodedata.category(c) == "Zs" else c for c in text.strip(" \t\r\n"))
    normal = unicodedata.normalize("NFC", spaced)
    allowed = not any(unicodedata.category(c) in _FORBIDDEN for c in normal)
    if not normal or len(normal) > MAX_CHARACTERS or not allowed:
        raise UnusablePassword
    return normal.encode()
