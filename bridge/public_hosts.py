"""Which hosts may be fetched from at the word of a user: public ones, and those that the operator named.

An address that resolves into the gateway's own network would let whoever writes to it read there (SSRF).
"""

import ipaddress
import socket
from collections.abc import Iterable

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from bridge import urls

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Forbidden(OSError):
    """The host is not one that may be fetched from."""

    def __init__(self) -> None:
        super().__init__("the host is not a public one")


def is_public(text: str) -> bool:
    """Whether an IP address is one of the public internet; False for what is no address."""
    try:
        address: _Address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return all(each.is_global and not each.is_multicast for each in _meant(address))


def _meant(address: _Address) -> list[_Address]:
    """The address, and the IPv4 address that it stands for."""
    meant: list[_Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if embedded is None and address in _NAT64:
            embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address.teredo is not None:
            embedded = address.teredo[1]
        if embedded is not None:
            return [embedded] if address.ipv4_mapped else [address, embedded]
    return meant


def is_loopback(host: str) -> bool:
    """Whether a host, as it stands in a URL, is this machine."""
    return host.endswith(".localhost") or urls.is_loopback(host)


class Hosts(AbstractResolver):
    """Resolves names for connections, only of hosts that may be fetched from. `allowed`: as `host` or `host:port`."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._named = frozenset(entry.lower() for entry in allowed if entry)
        self._own: set[str] = set()
        self._resolver: AbstractResolver | None = None
        self.refused: set[str] = set()
        """Hosts that did not pass, by their names."""

    def trust(self, url: URL) -> None:
        """Files may be fetched from there, wherever it is: it is where our own are."""
        if url.host:
            self._own.add(f"{url.host}:{url.port}")

    def allows(self, host: str, port: int | None) -> bool:
        """Whether it was named, or is where our own files are."""
        return bool({host, f"{host}:{port}"} & self._named) or f"{host}:{port}" in self._own

    def named(self, url: URL) -> bool:
        """Whether the operator named it."""
        host = url.host or ""
        return bool({host, f"{host}:{url.port}"} & self._named)

    def require(self, url: URL) -> None:
        """What can be said before its name is resolved. Raises Forbidden."""
        host = url.host or ""
        literal = host.replace(".", "").isdigit() or ":" in host
        if url.scheme not in ("https", "http") or (url.scheme == "http" and not self.named(url)):
            raise Forbidden
        if not host or url.user is not None or (literal and not is_public(host) and not self.allows(host, url.port)):
            raise Forbidden

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See AbstractResolver. Raises Forbidden when one of the addresses is not public."""
        if self._resolver is None:
            self._resolver = ThreadedResolver()
        found = await self._resolver.resolve(host, port, family)
        if not self.allows(host, port) and not all(is_public(each["host"]) for each in found):
            self.refused.add(host)
            raise Forbidden
        self.refused.discard(host)
        return found

    async def close(self) -> None:
        """See AbstractResolver."""
        if self._resolver is not None:
            await self._resolver.close()
