"""Addresses of files with their keys: `aesgcm:` URLs (XEP-0454), and the https URLs that they stand for."""

import re
from dataclasses import dataclass

from crypto.errors import Malformed
from crypto.files.streams import Lock, Made, Method

MAX_URL = 1000
"""Characters of the longest URL that crosses the wall."""
_HOST = r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::[0-9]{1,5})?"
_PATH = r"(?:/[!$&-;=?-Z_a-z~%\[\]@]*)?"
_HTTP = re.compile(rf"https?://{_HOST}{_PATH}")
_AESGCM = re.compile(rf"aesgcm://(?P<rest>{_HOST}{_PATH})#(?P<hex>[0-9A-Fa-f]{{88}}|[0-9A-Fa-f]{{96}})")
_THUMBNAIL = re.compile(r"data:image/jpeg,[!-~]*")


class NotAnAddress(Malformed):
    """It is not the address of an encrypted file."""

    def __init__(self) -> None:
        super().__init__("the address of an encrypted file cannot be read")


@dataclass(frozen=True, slots=True)
class SealedAddress:
    """Where the ciphertext of a file is, and what opens it."""

    url: str
    lock: Lock


def is_fetchable(url: object) -> bool:
    """Whether it is a URL of http or https, without user, in characters that cross the wall."""
    return isinstance(url, str) and len(url) <= MAX_URL and _HTTP.fullmatch(url) is not None


def sealed_address(text: str) -> SealedAddress:
    """Read an `aesgcm:` URL. IVs of 16 octets are taken as well: clients made such for years. Raises NotAnAddress."""
    found = _AESGCM.fullmatch(text) if len(text) <= MAX_URL + 110 else None
    url = f"https://{found['rest']}" if found is not None else ""
    if found is None or not is_fetchable(url):
        raise NotAnAddress
    secret = bytes.fromhex(found["hex"])
    return SealedAddress(url, Lock(Method.GCM, secret[-32:], secret[:-32]))


def sole_address(body: str) -> SealedAddress | None:
    """The address that is all of a body, but for a thumbnail below it (XEP-0454, section 5); None: it is a text."""
    first, _, rest = body.strip().partition("\n")
    if not first.startswith("aesgcm://") or (rest and _THUMBNAIL.fullmatch(rest) is None):
        return None
    try:
        return sealed_address(first.strip())
    except NotAnAddress:
        return None


def address_of(url: str, made: Made) -> str:
    """The `aesgcm:` URL of a file that we made. Raises NotAnAddress when it does not stand at an https URL."""
    if not is_fetchable(url) or not url.startswith("https://") or made.method is not Method.GCM:
        raise NotAnAddress
    return f"aesgcm://{url.removeprefix('https://')}#{made.iv.hex()}{made.key.hex()}"


def name_in(url: str) -> str:
    """The last part of a URL's path, as text; `file` when there is none that can be read."""
    last = url.partition("?")[0].rpartition("/")[2]
    octets = re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), last.encode("ascii", "replace"))
    try:
        name = octets.decode("utf-8")
    except UnicodeDecodeError:
        name = ""
    return name if name and name.isprintable() else "file"
