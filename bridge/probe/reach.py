"""Why a connection to a web server did not come about, with what to do."""

import asyncio
import ssl
from enum import StrEnum

import aiohttp

EXPIRED = frozenset({9, 10})
OTHER_NAME = frozenset({62, 64})
"""Codes of OpenSSL's verification: a certificate's time, or its name, is not right."""


class Trouble(StrEnum):
    """What went wrong."""

    EXPIRED = "expired"
    OTHER_NAME = "other-name"
    UNTRUSTED = "untrusted"
    NO_TLS = "no-tls"
    UNKNOWN_HOST = "unknown-host"
    REFUSED = "refused"
    SILENT = "silent"
    OTHER = "other"

    @property
    def of_certificate(self) -> bool:
        """Whether the server showed a certificate that will not do."""
        return self in (Trouble.EXPIRED, Trouble.OTHER_NAME, Trouble.UNTRUSTED)


def trouble_of(error: Exception) -> Trouble:
    """What an error of aiohttp's means."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        code = getattr(error.certificate_error, "verify_code", 0)
        return Trouble.EXPIRED if code in EXPIRED else Trouble.OTHER_NAME if code in OTHER_NAME else Trouble.UNTRUSTED
    if isinstance(error, (aiohttp.ClientConnectorSSLError, ssl.SSLError)):
        return Trouble.NO_TLS
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Trouble.UNKNOWN_HOST
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        return Trouble.REFUSED
    return Trouble.SILENT if isinstance(error, asyncio.TimeoutError) else Trouble.OTHER
