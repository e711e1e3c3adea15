"""Requests to a homeserver, with what can go wrong as values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import aiohttp

from bridge.probe.reach import Trouble, trouble_of

MAX_ANSWER = 1 << 20
PATIENCE_S = 10.0
_USER_AGENT = "lockgate-check"


@dataclass(frozen=True, slots=True)
class Answer:
    """A homeserver's answer. `body` is its JSON object, empty when it is none."""

    status: int
    body: Mapping[str, Any] = field(repr=False, default_factory=lambda: MappingProxyType({}))
    date: str | None = None

    @property
    def code(self) -> str:
        """The Matrix error code, `M_...`."""
        code = self.body.get("errcode")
        return code if isinstance(code, str) and code.isascii() and code.isprintable() and len(code) < 80 else ""


class Unreachable(Exception):
    """No answer. `found` and `remedy` say why."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.found = found
        self.remedy = remedy


class Homeserver:
    """A client of one base URL. Follows no redirects: a token must not be taken elsewhere."""

    def __init__(self, url: str) -> None:
        self.url = url
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        self._session = aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": _USER_AGENT})

    async def __aenter__(self) -> "Homeserver":
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._session.close()

    async def call(
        self, method: str, path: str, body: Mapping[str, object] | None = None, token: str | None = None
    ) -> Answer:
        """One request. Raises `Unreachable`."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        trouble: Unreachable
        try:
            async with self._session.request(
                method, self.url + path, json=body, headers=headers, allow_redirects=False
            ) as response:
                octets = await response.content.read(MAX_ANSWER)
                while not response.content.at_eof() and len(octets) < MAX_ANSWER:
                    octets += await response.content.read(MAX_ANSWER - len(octets))
                return Answer(response.status, _object(octets), response.headers.get("Date"))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            trouble = _trouble(self.url, error)
        raise trouble


def _object(octets: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(octets)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _trouble(url: str, error: Exception) -> Unreachable:
    trouble = trouble_of(error)
    if trouble.of_certificate:
        remedy = "Use the name the certificate is for, renew it, or add its authority to this system."
        return Unreachable(f"the certificate of {url} is not valid", remedy)
    if trouble is Trouble.NO_TLS:
        return Unreachable(f"{url} does not speak TLS", "Check whether it is http:// or https://, and the port.")
    if trouble is Trouble.UNKNOWN_HOST:
        return Unreachable(f"the host of {url} is not known", "Check matrix.homeserver.")
    if trouble is Trouble.REFUSED:
        return Unreachable(f"nothing listens at {url}", "Start the homeserver, or check matrix.homeserver.")
    if trouble is Trouble.SILENT:
        return Unreachable(f"{url} does not answer", "Check matrix.homeserver (http:// or https://?) and firewalls.")
    return Unreachable(f"{url} does not answer as a web server should", "Check matrix.homeserver and its port.")
