"""The terminal of `lockgate chat`, in a pseudo-terminal, against another client over a real Prosody."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from rig.alice import Alice
from rig.prosody import Prosody
from rig.services import ROOT, quiet_environment
from rig.xmpp import XmppAccount

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

_CONTROL = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")


class Terminal:
    """A process in a pseudo-terminal of 110 by 30."""

    def __init__(self) -> None:
        self.shown = ""
        self._arrived = asyncio.Event()

    async def start(self, *command: str) -> "Terminal":
        """Start it."""
        self._own, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 110, 0, 0))
        self.process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**quiet_environment(), "TERM": "xterm-256color"},
        )
        os.close(theirs)
        asyncio.get_running_loop().add_reader(self._own, self._read)
        return self

    def _read(self) -> None:
        try:
            octets = os.read(self._own, 1 << 16)
        except OSError:
            octets = b""
        if not octets:
            asyncio.get_running_loop().remove_reader(self._own)
            return
        if b"\x1b[6n" in octets:
            os.write(self._own, b"\x1b[1;1R")
        self.shown += _CONTROL.sub("", octets.decode("utf-8", "replace"))
        self._arrived.set()

    def type(self, text: str) -> None:
        """Type, with Enter as carriage return."""
        os.write(self._own, text.encode())

    async def sees(self, wanted: str, *, since: int = 0, timeout_s: float = 20.0) -> int:
        """Wait until the text is shown after that position; returns where it ends."""
        async with asyncio.timeout(timeout_s):
            while (at := self.shown.find(wanted, since)) < 0:
                self._arrived.clear()
                await self._arrived.wait()
        return at + len(wanted)

    async def stop(self) -> None:
        """End it."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        asyncio.get_running_loop().remove_reader(self._own)
        os.close(self._own)


async def opened(folder: Path, own: XmppAccount, contact: str) -> Terminal:
    """A terminal with the chat in it; the same store each time."""
    password = folder / "password"
    password.touch(0o600)
    password.write_text(own.password)
    return await Terminal().start(
        *(sys.executable, "-m", "client.chat", contact, "--account", own.jid, "--password-file", str(password)),
        *("--host", own.host, "--port", str(own.port), "--insecure-loopback", "--store", str(folder / "t.db")),
    )


@pytest_asyncio.fixture
async def scene(
    prosody: Prosody, tmp_path: Path, unique: Callable[[str], str]
) -> AsyncIterator[tuple[Terminal, Alice]]:
    """A terminal that talks to Bob, both logged in."""
    own, other = prosody.account(unique("alice")), prosody.account(unique("bob"))
    bob = await Alice(tmp_path, other, own.jid, "bob").start()
    terminal = await opened(tmp_path, own, other.jid)
    yield terminal, bob
    await terminal.stop()
    await bob.stop()


async def test_a_conversation_in_the_terminal(scene: tuple[Terminal, Alice]) -> None:
    terminal, bob = scene
    await terminal.sees("Encrypted session.")
    sas = (await bob.session())["sas"]
    await terminal.sees(f"SAS {sas}")
    terminal.type("hello from the terminal\r")
    assert [m.body for m in await bob.wait_messages(1)] == ["hello from the terminal"]
    await bob.send("and back 🦊")
    await terminal.sees("and back 🦊")


async def test_the_status_line_shows_state_sas_and_verification(scene: tuple[Terminal, Alice]) -> None:
    terminal, bob = scene
    await terminal.sees("encrypted")
    await terminal.sees("not verified")
    at = len(terminal.shown)
    terminal.type("/verify\r")
    at = await terminal.sees("Verified, for this session", since=at)
    await terminal.sees("| SAS", since=at)
    terminal.type("/status\r")
    at = await terminal.sees("yes", since=at)
    terminal.type("/end\r")
    at = await terminal.sees("no session", since=at)
    await bob.wait_for(lambda e: e.get("event") == "ended", what="the end of the session")


async def test_lines_can_be_edited_and_recalled(scene: tuple[Terminal, Alice]) -> None:
    terminal, bob = scene
    await terminal.sees("Encrypted session.")
    terminal.type("helo\x1b[Dl\r")
    await bob.wait_messages(1)
    terminal.type("\x1b[A!\r")
    assert [m.body for m in await bob.wait_messages(2)] == ["hello", "hello!"]


async def test_what_a_contact_sends_does_not_steer_the_terminal(scene: tuple[Terminal, Alice]) -> None:
    terminal, bob = scene
    await terminal.sees("Encrypted session.")
    await bob.send("evil \u009b31m \u202e desrever")
    await terminal.sees("evil \ufffd31m")
    assert "\u009b" not in terminal.shown


async def test_unknown_commands_are_not_sent_and_quit_leaves_with_status_0(scene: tuple[Terminal, Alice]) -> None:
    terminal, bob = scene
    await terminal.sees("Encrypted session.")
    terminal.type("/verfy\r")
    await terminal.sees("There is no command /verfy")
    terminal.type("/help\r")
    await terminal.sees("end the encrypted session")
    terminal.type("//slash\r")
    assert [m.body for m in await bob.wait_messages(1)] == ["/slash"]
    terminal.type("/quit\r")
    assert await asyncio.wait_for(terminal.process.wait(), 15) == 0


async def test_who_quits_is_told_what_is_not_acknowledged_and_it_is_sent_the_next_time(
    prosody: Prosody, tmp_path: Path, unique: Callable[[str], str]
) -> None:
    own, other = prosody.account(unique("alice")), prosody.account(unique("bob"))
    terminal = await opened(tmp_path, own, other.jid)
    await terminal.sees("Logged in")
    terminal.type("for later\r")
    await terminal.sees("1 not acknowledged")
    at = len(terminal.shown)
    terminal.type("/quit\r")
    await terminal.sees("leaving >", since=at)
    await terminal.sees("1 message is not acknowledged yet: kept on this disk", since=at)
    at = len(terminal.shown)
    terminal.type("\x03")
    await terminal.sees("Staying.", since=at)
    at = len(terminal.shown)
    terminal.type("/quit\r")
    await terminal.sees("leaving >", since=at)
    terminal.type("\x04")
    assert await asyncio.wait_for(terminal.process.wait(), 15) == 1
    await terminal.stop()

    bob = await Alice(tmp_path, other, own.jid, "bob").start()
    terminal = await opened(tmp_path, own, other.jid)
    assert [m.body for m in await bob.wait_messages(1)] == ["for later"]
    await bob.stop()
    await terminal.stop()


async def test_who_waits_leaves_as_soon_as_all_is_acknowledged(
    prosody: Prosody, tmp_path: Path, unique: Callable[[str], str]
) -> None:
    own, other = prosody.account(unique("alice")), prosody.account(unique("bob"))
    terminal = await opened(tmp_path, own, other.jid)
    await terminal.sees("Logged in")
    terminal.type("one\rtwo\r")
    await terminal.sees("2 not acknowledged")
    terminal.type("/quit\r")
    await terminal.sees("leaving >")
    bob = await Alice(tmp_path, other, own.jid, "bob").start()
    assert [m.body for m in await bob.wait_messages(2)] == ["one", "two"]
    assert await asyncio.wait_for(terminal.process.wait(), 30) == 0
    await terminal.stop()
    await bob.stop()
