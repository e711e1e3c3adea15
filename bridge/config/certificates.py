"""Certificates by reference: files that anybody may read, but that only their owner may change, since they vouch."""

import os
import stat
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from bridge.config.reference import BadFile, Reference, octets_of


class _Kind(NamedTuple):
    what: str
    mark: bytes
    """In a file of text."""
    binary: Callable[[int], bool]
    """Whether a binary file may begin with this octet."""
    limit: int


_X509 = b"-----BEGIN CERTIFICATE-----"
_PGP = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"

KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "ca_file": _Kind("certificates", _X509, lambda _: False, 64 << 10),
        "certificate_file": _Kind("a certificate", _X509, lambda _: False, 64 << 10),
        "openpgp_file": _Kind("an OpenPGP certificate", _PGP, lambda octet: octet & 0x80 != 0, 256 << 10),
    }
)
"""By the key that names the file."""


def certificate_octets(reference: Reference, key: str) -> bytes:
    """The octets of a certificate's file. What is in it is judged in the enclave; here only whether it can be one.

    Raises `BadFile`.
    """
    kind, file = KINDS[key], reference.file
    octets = _read(reference, kind)
    if octets is None:
        raise BadFile("certificate-malformed", f"{file} is too large", f"The limit is {kind.limit >> 10} KiB.")
    if b"PRIVATE KEY" in octets:
        remedy = "Name a file that holds the public part only; Lockgate never needs the private one."
        raise BadFile("certificate-private", f"{file} holds a private key", remedy)
    if not octets or not (_is_text_with(kind.mark, octets) or kind.binary(octets[0])):
        remedy = f"Name a file of text in which there is a line {kind.mark.decode()}."
        raise BadFile("certificate-malformed", f"{file} does not hold {kind.what}", remedy)
    return octets


def _is_text_with(mark: bytes, octets: bytes) -> bool:
    return mark in octets and octets.isascii()


def _read(reference: Reference, kind: _Kind) -> bytes | None:
    trouble: BadFile
    try:
        return octets_of(reference, kind.limit, _require_unchanged_by_others)
    except PermissionError:
        found, remedy = f"{reference.file} may not be read by this user", "Make it readable for Lockgate's user."
        trouble = BadFile("certificate-unreadable", found, remedy)
    except (OSError, ValueError):
        found = f"there is no file {reference.file}"
        trouble = BadFile("certificate-missing", found, f"Put {kind.what} into a file, and name that file here.")
    raise trouble


def _require_unchanged_by_others(reference: Reference, status: os.stat_result) -> None:
    file = reference.file
    if not stat.S_ISREG(status.st_mode):
        raise BadFile("certificate-malformed", f"{file} is not a file", "Name the file that holds the certificate.")
    if status.st_mode & 0o022:
        found = f"{file} may be changed by other users (mode {stat.S_IMODE(status.st_mode):04o})"
        raise BadFile("certificate-exposed", found, f"Run: chmod go-w {file}")
