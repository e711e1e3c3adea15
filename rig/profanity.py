"""Profanity (Debian package), driven as a person would: keys into a pseudo-terminal, and the screen read back."""

import asyncio
import contextlib
import fcntl
import os
import pty
import shutil
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import Self

import pyte

from rig.services import ServiceFailed, quiet_environment, tied

COLUMNS, ROWS = 220, 60
_PREFERENCES = """[connection]
autoping=0
autoping.timeout=0

[ui]
splash=false
beep=false
wrap=true
privileges=false
titlebar.show=true

[notifications]
message=off
invite=false
sub=false

[chatstates]
enabled=true
outtype=true

[logging]
chlog=true
"""


class Profanity:
    """One Profanity with folders of its own. `start` logs in; then `command`, `say`, and what is `shown`."""

    def __init__(self, folder: Path) -> None:
        """`folder` becomes its home."""
        self.folder = folder
        self._screen = pyte.HistoryScreen(COLUMNS, ROWS, history=5000, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)
        self._process: subprocess.Popen[bytes] | None = None
        self._terminal = -1
        self._changed = asyncio.Event()

    @property
    def running(self) -> bool:
        """Whether the program is there."""
        return self._process is not None and self._process.poll() is None

    async def open(self) -> Self:
        """Start the program, not logged in."""
        program = shutil.which("profanity")
        if program is None:
            raise ServiceFailed("profanity is not installed; install the Debian package: apt-get install profanity")
        self._prepare()
        self._terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._process = subprocess.Popen(  # noqa: ASYNC220 - a fork and no more
            tied([program, "-l", "DEBUG"]),
            stdin=inner,
            stdout=inner,
            stderr=inner,
            cwd=self.folder,
            env=self._environment(),
            start_new_session=True,
        )
        os.close(inner)
        os.set_blocking(self._terminal, False)
        asyncio.get_running_loop().add_reader(self._terminal, self._read)
        await self.wait_for("Profanity", timeout_s=20)
        return self

    async def start(self, jid: str, password: str, host: str, port: int, *, tls: str = "trust") -> Self:
        """Start it if need be, and log in. `tls`: `trust` takes any certificate, `force` asks about unknown ones."""
        if not self.running:
            await self.open()
        await self.command(f"/connect {jid} server {host} port {port} tls {tls}")
        await self.wait_for("Enter password:")
        await self.type(password)
        return self

    async def logged_in(self, *, timeout_s: float = 30.0) -> None:
        """Wait until it says so."""
        await self.wait_for("logged in successfully", timeout_s=timeout_s)

    async def command(self, line: str) -> None:
        """Enter a command, or a text for the window that is shown."""
        await self.type(line)

    async def say(self, to: str, text: str) -> None:
        """Send a message in the window with that contact."""
        await self.type(f"/msg {to}")
        await self.type(text)

    async def type(self, line: str) -> None:
        """Press these keys, then Enter."""
        for octets in (line.encode(), b"\r"):
            await asyncio.get_running_loop().run_in_executor(None, self._write, octets)
            await asyncio.sleep(0.05)

    def shown(self) -> str:
        """What the screen shows, line by line without the blanks at their ends."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    async def wait_for(self, text: str, *, timeout_s: float = 20.0) -> str:
        """Wait until the screen shows the text, and give the line with it."""
        deadline = time.monotonic() + timeout_s
        while True:
            for line in self.shown().splitlines():
                if text in line:
                    return line
            left = deadline - time.monotonic()
            if left <= 0 or not self.running:
                raise ServiceFailed(f"profanity does not show {text!r}; its screen:\n{self.shown()}")
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(left, 0.5))

    def logged(self) -> str:
        """Its own log."""
        return "\n".join(p.read_text("utf-8", "replace") for p in self.folder.rglob("profanity*.log"))

    def chat_log(self) -> str:
        """The chats it has written down, one after the other."""
        files = sorted((self.folder / "data" / "profanity" / "chatlogs").rglob("*.log"))
        return "\n".join(path.read_text("utf-8", "replace") for path in files)

    async def stop(self) -> None:
        """Quit as a person would; if it does not, end it."""
        if self.running:
            with contextlib.suppress(OSError):
                await self.type("/quit")
            assert self._process is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, 5)
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        self._close()

    # ------------------------------------------------------------ small parts
    def _prepare(self) -> None:
        for name in ("config", "data", "cache", "run"):
            (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        preferences = self.folder / "config" / "profanity" / "profrc"
        if not preferences.exists():
            preferences.parent.mkdir(exist_ok=True)
            preferences.write_text(_PREFERENCES)

    def _environment(self) -> dict[str, str]:
        own = {
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "TMPDIR": str(self.folder / "run"),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
        }
        kept = {k: v for k, v in quiet_environment().items() if k not in ("DISPLAY", "DBUS_SESSION_BUS_ADDRESS")}
        return kept | own

    def _write(self, octets: bytes) -> None:
        view = memoryview(octets)
        while view:
            with contextlib.suppress(BlockingIOError):
                view = view[os.write(self._terminal, view[:256]) :]
            time.sleep(0.01)

    def _read(self) -> None:
        try:
            octets = os.read(self._terminal, 1 << 16)
        except BlockingIOError:
            return
        except OSError:  # how a terminal says that nobody holds its other end any more
            octets = b""
        if octets:
            self._stream.feed(octets)
        else:
            self._close()
        self._changed.set()

    def _close(self) -> None:
        if self._terminal >= 0:
            asyncio.get_running_loop().remove_reader(self._terminal)
            os.close(self._terminal)
            self._terminal = -1
