"""Matrix user ids in the configuration (Matrix specification, appendices, "User Identifiers")."""

import re
from ipaddress import AddressValueError, IPv6Address

from bridge.config.jid import NotAnAddress

MAX_MXID = 255
"""Octets of the whole id."""

_LOCALPART = re.compile(r"[\x21-\x39\x3b-\x7e]+")
"""The historical set: printable ASCII without the colon. Such ids exist and must be reachable."""
_DNS_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?")
_PORT = re.compile(r"[0-9]{1,5}")


def user_id(text: str) -> str:
    """The id itself, `@localpart:server`. Raises `NotAnAddress`."""
    if not text.startswith("@"):
        raise NotAnAddress("does not begin with “@”", f"@{text}" if ":" in text else None)
    if ":" not in text:
        raise NotAnAddress("has no “:” and server name after the user's name")
    local, _, server = text[1:].partition(":")
    if not _LOCALPART.fullmatch(local):
        raise NotAnAddress("has no user's name, or one with characters that Matrix does not allow, before the “:”")
    _require_server_name(server)
    if server != server.lower():
        raise NotAnAddress("has capital letters in its server name", f"@{local}:{server.lower()}")
    if len(text) > MAX_MXID:
        raise NotAnAddress(f"is longer than {MAX_MXID} characters")
    return text


def _require_server_name(server: str) -> None:
    """`hostname [":" port]`, the host name a DNS name, an IPv4 or a bracketed IPv6 address."""
    if server.startswith("["):
        host, _, port = server[1:].partition("]")
        fits = _is_ipv6(host) and (not port or port.startswith(":"))
        port = port[1:]
        has_port = bool(port)
    else:
        host, colon, port = server.partition(":")
        has_port = bool(colon)
        fits = bool(_DNS_NAME.fullmatch(host)) and ".." not in host
    if not fits or (has_port and not (_PORT.fullmatch(port) and 0 < int(port) < 65536)):
        raise NotAnAddress("has no valid server name after the first “:”")


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
