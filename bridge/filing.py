"""Requests about files (bridge.wire.files), as far as they are the same on every network."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

from adapters.outside_api import Outcome
from bridge.downloads import Downloads, Patience, Sink
from bridge.spool import OK, Spool, spool_name
from bridge.wire.files import (
    BEGIN_AGAIN,
    FILE_DROP,
    FILE_FETCH,
    FILE_FORGET,
    FILE_PART,
    FILE_REQUESTS,
    FILE_UNAVAILABLE,
)
from bridge.wire.link import Carry

CHUNK = 64 << 10
"""Octets of a file that are in memory at one time, of those that are read or written in one piece."""
NOT_CONNECTED = Outcome("not-connected", retry=True, retry_after_s=1.0)
FULL_PAUSE_S = 5.0


class Carrier(Protocol):
    """How one account's files go to and come from its network."""

    async def load(self, url: str, most: int, sink: Sink) -> Outcome:
        """Hand all octets at that address to the sink. Not more than `most`."""

    async def upload(self, path: Path, size: int, ending: str | None) -> Outcome:
        """Upload a file of that size; the body of the outcome says where it stands."""


class FileDesk:
    """The files of all accounts of one network. Without a folder that can be used none is carried: senders are told."""

    def __init__(self, folder: str | None) -> None:
        self._spool = None if folder is None else _spool(Path(folder))
        self._downloads = None if self._spool is None else Downloads(self._spool)
        self._patience = Patience()

    @staticmethod
    def handles(request: Carry) -> bool:
        """Whether the request is about a file."""
        return request.request in FILE_REQUESTS

    async def carry(self, account: str, request: Carry, carrier: Carrier | None) -> Outcome:
        """Carry one request out. Without a `carrier` there is no connection now."""
        if self._spool is None or self._downloads is None:
            return Outcome(FILE_UNAVAILABLE)
        values: dict[str, Any] = {name: value.v for name, value in request.values.items()}
        name = spool_name(
            *(("in", account, values["url"]) if "url" in values else ("out", account, values["transfer"]))
        )
        quiet: dict[str, Callable[[], Outcome]] = {
            FILE_PART: lambda: self._stored(name, values["offset"], values["content"]),
            FILE_DROP: lambda: self._dropped(name),
            FILE_FORGET: lambda: self._forgotten(name),
        }
        if (act := quiet.get(request.request)) is not None:
            return act()
        if carrier is None:
            return NOT_CONNECTED
        if request.request != FILE_FETCH:
            return await self._upload(carrier, name, values["size"], values.get("ending"))
        stretch = {key: values[key] for key in ("offset", "size", "most")}
        return await self._downloads.stretch(
            name, lambda sink: carrier.load(values["url"], values["most"], sink), **stretch
        )

    def _stored(self, name: str, offset: int, octets: bytes) -> Outcome:
        assert self._spool is not None
        code = self._spool.store(name, offset, octets)
        again = code not in (OK, BEGIN_AGAIN)
        return Outcome(code, retry=again, retry_after_s=FULL_PAUSE_S if again else None)

    def _dropped(self, name: str) -> Outcome:
        assert self._spool is not None
        self._spool.drop(name)
        return Outcome()

    def _forgotten(self, name: str) -> Outcome:
        assert self._downloads is not None
        self._downloads.drop(name)
        return Outcome()

    async def _upload(self, carrier: Carrier, name: str, size: int, ending: str | None) -> Outcome:
        assert self._spool is not None
        if self._spool.size(name) != size:
            return Outcome(BEGIN_AGAIN)
        outcome = self._patience.judged(name, await carrier.upload(self._spool.path(name), size, ending))
        if not outcome.retry:
            self._spool.drop(name)
        return outcome

    async def close(self) -> None:
        """Stop."""
        if self._downloads is not None:
            await self._downloads.close()


def _spool(folder: Path) -> Spool | None:
    try:
        return Spool(folder)
    except OSError:  # texts need no folder
        return None


async def file_chunks(path: Path) -> AsyncIterator[bytes]:
    """A file's octets, a chunk at a time."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
            await asyncio.sleep(0)
