"""A relay between a client and a server on loopback that keeps every octet that passed."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Capture:
    """What passed, both directions, each in its order; `to_server` and `to_client` grow while the tap runs."""

    to_server: bytearray = field(default_factory=bytearray, repr=False)
    to_client: bytearray = field(default_factory=bytearray, repr=False)

    def __contains__(self, needle: bytes) -> bool:
        return needle in self.to_server or needle in self.to_client


class Tap:
    """Listens on a free port of 127.0.0.1 and relays every connection to `target_port` there."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.captures: list[Capture] = []
        self._server: asyncio.Server | None = None
        self._relays: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._answers = asyncio.Event()
        self._answers.set()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        """The port to connect to instead of the server's."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> Self:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        return self

    def saw(self, needle: bytes) -> bool:
        """Whether these octets passed on any connection."""
        return any(needle in capture for capture in self.captures)

    @property
    def octets(self) -> int:
        """How much passed."""
        return sum(len(c.to_server) + len(c.to_client) for c in self.captures)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        task.add_done_callback(self._relays.discard)
        capture = Capture()
        self.captures.append(capture)
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.close()
            return
        except asyncio.CancelledError:
            writer.close()
            raise
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_relay(reader, server_writer, capture.to_server, [self._open]))
                back = [self._open, self._answers]
                group.create_task(_relay(server_reader, writer, capture.to_client, back))
        finally:
            writer.close()
            server_writer.close()

    def hold(self, held: bool) -> None:
        """Keep back what comes, in both directions, or let it pass again."""
        if held:
            self._open.clear()
        else:
            self._open.set()

    def hold_answers(self, held: bool) -> None:
        """The same for what comes from the server only."""
        if held:
            self._answers.clear()
        else:
            self._answers.set()

    async def cut(self) -> None:
        """Close every connection, in the middle of whatever passes; new ones are taken."""
        for task in list(self._relays):
            task.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
        await self.cut()


async def _relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray, gates: Sequence[asyncio.Event]
) -> None:
    with contextlib.suppress(OSError):
        while octets := await reader.read(65536):
            for gate in gates:
                await gate.wait()
            kept += octets
            writer.write(octets)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
