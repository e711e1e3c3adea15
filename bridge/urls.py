"""URLs, and which of their hosts can only be this machine."""

import ipaddress
from urllib.parse import SplitResult, urlsplit


def split_url(text: str) -> SplitResult | None:
    """The parts of a URL, None when it is none."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises for a port that is none
    except ValueError:
        return None
    return parts


def is_loopback(host: str) -> bool:
    """Whether the name or address can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
