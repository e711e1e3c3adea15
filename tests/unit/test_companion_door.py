"""The companion's door, with real sockets and no server behind it: who gets in, and what a stranger can do."""

import asyncio
import base64
import contextlib
import os
import re
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest
import pytest_asyncio
from OpenSSL import SSL

from companion import local_door, local_server
from companion.local_peer import is_foreign, owner_of
from companion.scram import ClientSide
from rig.companion import LocalCompanion
from rig.services import free_port
from rig.xmpp import XmppAccount
from tests.unit import companion_world as world

SASL = "urn:ietf:params:xml:ns:xmpp-sasl"


@pytest_asyncio.fixture
async def door(tmp_path: Path) -> AsyncIterator[LocalCompanion]:
    """A companion whose server is not there."""
    nowhere = XmppAccount(world.JID, "unused", "127.0.0.1", free_port(), tmp_path)
    async with LocalCompanion(tmp_path / "c", nowhere, tls_port=0, ca_file=None) as running:
        yield running


class Raw:
    """A client by hand, on direct TLS."""

    def __init__(self, door: LocalCompanion) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.tls = SSL.Connection(context, None)
        self.tls.set_connect_state()
        self.got = b""
        self._port = door.local.tls_port
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def open(self) -> Self:
        """Connect and shake hands."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        while True:
            with contextlib.suppress(SSL.WantReadError):
                self.tls.do_handshake()
                self._flush()
                return self
            self._flush()
            self.tls.bio_write(await self._reader.read(1 << 16))

    def say(self, text: str | bytes) -> None:
        """Send this."""
        self.tls.send(text.encode() if isinstance(text, str) else text)
        self._flush()

    async def until(self, text: bytes) -> bytes:
        """Read until it comes; everything up to it."""
        while text not in self.got:
            octets = await asyncio.wait_for(self._reader.read(1 << 16), 10)
            assert octets, f"closed after {self.got!r}"
            self.tls.bio_write(octets)
            with contextlib.suppress(SSL.WantReadError, SSL.ZeroReturnError):
                while True:
                    self.got += self.tls.recv(1 << 16)
        before, _, self.got = self.got.partition(text)
        return before + text

    async def closed(self) -> None:
        """Wait until the other side has closed."""
        with contextlib.suppress(ConnectionError):
            while await asyncio.wait_for(self._reader.read(1 << 16), 10):
                pass

    def close(self) -> None:
        """Close."""
        self._writer.close()

    def _flush(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            while True:
                self._writer.write(self.tls.bio_read(1 << 16))


def auth(mechanism: str, message: str) -> str:
    return f"<auth xmlns='{SASL}' mechanism='{mechanism}'>{base64.b64encode(message.encode()).decode()}</auth>"


def content(element: bytes) -> str:
    found = re.search(rb">([A-Za-z0-9+/=]+)</[a-z]+>$", element)
    assert found is not None
    return base64.b64decode(found[1]).decode()


async def test_a_login_bound_to_its_tls_1_3_channel_is_accepted(door: LocalCompanion) -> None:
    raw = await Raw(door).open()
    raw.say(world.HEADER)
    features = await raw.until(b"</stream:features>")
    assert b"<mechanism>SCRAM-SHA-256-PLUS</mechanism>" in features
    assert b"tls-exporter" in features
    exporter = raw.tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
    client = ClientSide("SCRAM-SHA-256-PLUS", "alice", "nonce", ("tls-exporter", exporter), flag="p")
    raw.say(auth("SCRAM-SHA-256-PLUS", client.first()))
    answer = client.final(content(await raw.until(b"</challenge>")), door.account.password)
    raw.say(f"<response xmlns='{SASL}'>{base64.b64encode(answer.encode()).decode()}</response>")
    client.check(content(await raw.until(b"</success>")))
    raw.close()


async def test_a_client_is_told_that_the_server_cannot_be_reached(door: LocalCompanion) -> None:
    raw = await Raw(door).open()
    raw.say(world.HEADER)
    raw.say(world.plain("alice", door.account.password))
    await raw.until(b"<success")
    raw.say(world.HEADER)
    assert b"remote-connection-failed" in await raw.until(b"</stream:stream>")
    raw.close()


async def test_guessing_is_slow(door: LocalCompanion) -> None:
    raw = await Raw(door).open()
    raw.say(world.HEADER)
    begun = time.monotonic()
    for _ in range(2):
        raw.say(world.plain("alice", "guess"))
        await raw.until(b"</failure>")
    assert time.monotonic() - begun > 2 * local_server.REFUSAL_DELAY_S * 0.9
    raw.close()


async def test_strangers_cannot_keep_others_out(door: LocalCompanion) -> None:
    strangers = [
        await asyncio.open_connection("127.0.0.1", door.local.port) for _ in range(local_door.MOST_STRANGERS + 5)
    ]
    raw = await Raw(door).open()
    raw.say(world.HEADER)
    await raw.until(b"</stream:features>")
    for reader, _ in strangers[:5]:
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(1), 5) == b""
    for _, writer in strangers:
        writer.close()
    raw.close()


async def test_who_does_not_log_in_has_to_leave(monkeypatch: pytest.MonkeyPatch, door: LocalCompanion) -> None:
    monkeypatch.setattr(local_server, "LOGIN_S", 0.3)
    raw = await Raw(door).open()
    raw.say(world.HEADER)
    assert b"connection-timeout" in await raw.until(b"</stream:stream>")
    await raw.closed()


async def test_nobody_from_elsewhere_can_connect(door: LocalCompanion) -> None:
    with pytest.raises(OSError, match=r"refused|111"):
        await asyncio.open_connection("127.0.0.2", door.local.port)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(("user", "let_in"), [(65534, False), (0, True)])
async def test_other_users_of_the_machine_are_not_let_in(door: LocalCompanion, user: int, *, let_in: bool) -> None:
    code = (
        f"import os, socket; os.setuid({user}); s = socket.create_connection(('127.0.0.1', {door.local.port}))\n"
        f"s.sendall({world.HEADER!r}); print(s.recv(5))"
    )
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=pipe, stderr=pipe)
    said, trouble = await process.communicate()
    assert (b"<?xml" in said) is let_in, trouble


def test_who_made_a_connection_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            assert owner_of(client.getsockname(), server.getsockname()) == os.getuid()
            assert not is_foreign(client.getsockname(), server.getsockname())
        assert owner_of(("127.0.0.1", 1), server.getsockname()) is None


async def test_octets_that_are_no_tls_close_the_connection(door: LocalCompanion) -> None:
    assert door.local.tls_port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", door.local.tls_port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(100), 5) == b""
    writer.close()


async def test_a_taken_port_is_told(door: LocalCompanion, tmp_path: Path) -> None:
    again = LocalCompanion(tmp_path / "d", replace(door.account), port=door.local.port, ca_file=None)
    with pytest.raises(OSError, match="in use"):
        await again.__aenter__()
