"""What OAuth 2.0 servers answer, read with suspicion: each answer is what its clause asks for, or `OAuthFailed`.

Matrix spec, OAuth 2.0 API (MSC2965, MSC2966, MSC4341); RFC 6749, RFC 7591, RFC 8414, RFC 8628.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from bridge.urls import is_loopback, split_url

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
REFRESH_GRANT: Final = "refresh_token"
MAX_URL: Final = 2048
MAX_TOKEN: Final = 8192
MAX_LIFETIME_S: Final = 10 * 365 * 86400
DEFAULT_INTERVAL_S: Final = 5
"""RFC 8628 section 3.2."""
MOST_INTERVAL_S: Final = 120

_TOKEN = re.compile(rf"[\x21-\x7e]{{1,{MAX_TOKEN}}}")
_URL = re.compile(rf"[\x21-\x7e]{{1,{MAX_URL}}}")
_CODE = re.compile(r"[\x20-\x7e]{1,64}")
_CLIENT = re.compile(r"[\x20-\x7e]{1,1024}")

ACCESS_DENIED: Final = "access-denied"
EXPIRED: Final = "expired"
INVALID_CLIENT: Final = "invalid-client"
INVALID_GRANT: Final = "invalid-grant"
INVALID_SCOPE: Final = "invalid-scope"
MALFORMED: Final = "malformed"
NO_DEVICE_GRANT: Final = "no-device-grant"
NO_OAUTH: Final = "no-oauth"
NO_REGISTRATION: Final = "no-registration"
OTHER_ISSUER: Final = "other-issuer"
PENDING: Final = "pending"
REFUSED: Final = "refused"
SLOW_DOWN: Final = "slow-down"
UNREACHABLE: Final = "unreachable"
UNSAFE_URL: Final = "unsafe-url"

_ERRORS: Final = {
    "authorization_pending": PENDING,
    "slow_down": SLOW_DOWN,
    "access_denied": ACCESS_DENIED,
    "expired_token": EXPIRED,
    "invalid_grant": INVALID_GRANT,
    "invalid_client": INVALID_CLIENT,
    "unauthorized_client": INVALID_CLIENT,
    "invalid_scope": INVALID_SCOPE,
    "temporarily_unavailable": UNREACHABLE,
    "server_error": UNREACHABLE,
}


class OAuthFailed(Exception):
    """It did not work. `code` is one of the words above; never holds anything of the answer."""

    def __init__(self, code: str) -> None:
        super().__init__("the OAuth 2.0 server did not do what was asked of it")
        self.code = code


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """What is used of an authorization server's metadata (RFC 8414). URLs are https, or http to this machine."""

    issuer: str
    token_endpoint: str
    registration_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    revocation_endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceAuthorization:
    """What the user is to open and to type (RFC 8628 section 3.2). Times in seconds."""

    device_code: str = field(repr=False)
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    lifetime_s: int
    interval_s: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """An access token, perhaps with its lifetime in seconds and a refresh token (RFC 6749 section 5.1)."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    lifetime_s: int | None


def metadata(body: bytes) -> ServerMetadata:
    """The server's metadata. Raises OAuthFailed: MALFORMED or UNSAFE_URL."""
    found = _object(body)
    issuer = safe_url(found.get("issuer"))
    if "?" in issuer or "#" in issuer:
        raise OAuthFailed(UNSAFE_URL)
    grants = found.get("grant_types_supported", [DEVICE_GRANT])
    if not isinstance(grants, list):
        raise OAuthFailed(MALFORMED)
    device = _optional_url(found, "device_authorization_endpoint")
    return ServerMetadata(
        issuer=issuer,
        token_endpoint=safe_url(found.get("token_endpoint")),
        registration_endpoint=_optional_url(found, "registration_endpoint"),
        device_authorization_endpoint=device if DEVICE_GRANT in grants else None,
        revocation_endpoint=_optional_url(found, "revocation_endpoint"),
    )


def client_id(body: bytes) -> str:
    """The id under which we were registered (RFC 7591 section 3.2.1). Raises OAuthFailed."""
    return _text(_object(body), "client_id", _CLIENT)


def device_authorization(body: bytes) -> DeviceAuthorization:
    """The codes of a device authorization. Raises OAuthFailed."""
    found = _object(body)
    return DeviceAuthorization(
        device_code=_text(found, "device_code", _TOKEN),
        user_code=_text(found, "user_code", _CODE),
        verification_uri=safe_url(found.get("verification_uri")),
        verification_uri_complete=_optional_url(found, "verification_uri_complete"),
        lifetime_s=_seconds(found, "expires_in", MAX_LIFETIME_S),
        interval_s=_seconds(found, "interval", MOST_INTERVAL_S) if "interval" in found else DEFAULT_INTERVAL_S,
    )


def tokens(body: bytes) -> Tokens:
    """The tokens of a successful answer. Raises OAuthFailed."""
    found = _object(body)
    if str(found.get("token_type")).lower() != "bearer":
        raise OAuthFailed(MALFORMED)
    return Tokens(
        access_token=_text(found, "access_token", _TOKEN),
        refresh_token=_text(found, "refresh_token", _TOKEN) if found.get("refresh_token") is not None else None,
        lifetime_s=_seconds(found, "expires_in", MAX_LIFETIME_S) if found.get("expires_in") is not None else None,
    )


def error_code(status: int, body: bytes) -> str:
    """What an answer that is no success says (RFC 6749 section 5.2), as one of the words above."""
    try:
        found = _object(body)
    except OAuthFailed:
        found = {}
    error = found.get("error")
    if 400 <= status < 500 and isinstance(error, str) and status != 429:
        return _ERRORS.get(error, REFUSED)
    return SLOW_DOWN if status == 429 else UNREACHABLE


def safe_url(value: object) -> str:
    """A URL that secrets may be sent to: https, or http to this very machine. Raises OAuthFailed."""
    if not isinstance(value, str) or not _URL.fullmatch(value):
        raise OAuthFailed(MALFORMED)
    parts = split_url(value)
    if parts is None or not parts.hostname or parts.fragment or "@" in parts.netloc or "\\" in value:
        raise OAuthFailed(UNSAFE_URL)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise OAuthFailed(UNSAFE_URL)
    return value


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise OAuthFailed(MALFORMED)
    return found


def _optional_url(found: dict[str, Any], name: str) -> str | None:
    value = found.get(name)
    return None if value is None else safe_url(value)


def _text(found: dict[str, Any], name: str, shape: re.Pattern[str]) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not shape.fullmatch(value):
        raise OAuthFailed(MALFORMED)
    return value


def _seconds(found: dict[str, Any], name: str, most: int) -> int:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise OAuthFailed(MALFORMED)
    return int(min(value, most))
