"""Matrix encrypted attachments, version v2 (spec: End-to-End Encryption, "Sending encrypted attachments")."""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

from crypto.errors import Malformed
from crypto.files.digests import SHA256, Digest
from crypto.files.streams import Lock, Made, Method

_MXC = re.compile(r"mxc://[A-Za-z0-9.:\[\]-]{1,255}/[A-Za-z0-9_-]{1,255}")


class NotAnAttachment(Malformed):
    """It is not the description of an encrypted file, or not of a version that is known."""

    def __init__(self) -> None:
        super().__init__("the description of an encrypted file cannot be read")


@dataclass(frozen=True, slots=True)
class EncryptedFile:
    """Where the ciphertext of a file is (`mxc:` URI), and what opens it."""

    url: str
    lock: Lock


def is_mxc(text: object) -> bool:
    """Whether it is the URI of a medium, in characters that may go into a path."""
    return isinstance(text, str) and _MXC.fullmatch(text) is not None


def encrypted_file(described: object) -> EncryptedFile:
    """Read an `EncryptedFile` object (decoded JSON). Raises NotAnAttachment, UnusableKey.

    `ext` and `key_ops` say nothing that the rest does not; they are not looked at. An IV whose last half is not zero
    is taken: clients once made such.
    """
    match described:
        case {
            "v": "v2",
            "url": str(url),
            "iv": str(iv),
            "key": {"kty": "oct", "alg": "A256CTR", "k": str(key)},
            "hashes": {"sha256": str(sha256)},
        } if is_mxc(url):
            lock = Lock(
                Method.CTR,
                _decoded(key, b"-_"),
                _decoded(iv, b"+/"),
                sealed=(Digest(SHA256, _decoded(sha256, b"+/")),),
            )
            lock.require_usable()
            if len(lock.sealed[0].value) == 32:
                return EncryptedFile(url, lock)
    raise NotAnAttachment


def described(url: str, made: Made) -> dict[str, Any]:
    """The `EncryptedFile` object of a file that we made and that stands at this URI."""
    return {
        "v": "v2",
        "url": url,
        "key": {
            "kty": "oct",
            "key_ops": ["encrypt", "decrypt"],
            "alg": "A256CTR",
            "k": _encoded(made.key, b"-_"),
            "ext": True,
        },
        "iv": _encoded(made.iv, b"+/"),
        "hashes": {"sha256": _encoded(made.sealed_sha256, b"+/")},
    }


def encrypted_file_in(octets: bytes) -> EncryptedFile:
    """The same from JSON text. Raises NotAnAttachment, UnusableKey."""
    try:
        found = json.loads(octets)
    except (ValueError, RecursionError):
        found = None
    return encrypted_file(found)


def _encoded(octets: bytes, alphabet: bytes) -> str:
    return base64.b64encode(octets, alphabet).decode().rstrip("=")


def _decoded(text: str, alphabet: bytes) -> bytes:
    """Base64 without padding; with it as well, since some clients write it. Raises NotAnAttachment."""
    bare = text.rstrip("=")
    try:
        if bare.isascii() and len(text) <= 128:
            swapped = bare.encode().translate(bytes.maketrans(alphabet, b"+/"))
            if alphabet == b"-_" and (b"+" in bare.encode() or b"/" in bare.encode()):
                raise binascii.Error
            return base64.b64decode(swapped + b"=" * (-len(swapped) % 4), validate=True)
    except (binascii.Error, ValueError):
        pass
    raise NotAnAttachment
