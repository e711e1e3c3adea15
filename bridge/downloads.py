"""Files that come from a network: streamed into the spool once, handed on stretch by stretch."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from adapters.outside_api import Outcome
from bridge.spool import FULL, OK, Spool
from bridge.wire.files import FILE_GONE, FILE_TOO_LARGE, FILE_UNAVAILABLE

PATIENCE_S = 24 * 3600.0
"""So long a file is asked for again and again; then its sender is told."""
_MOST_FAILING = 1000


class TooMuch(Exception):
    """The file has more octets than are taken, or than there is room for. `code` says which."""

    def __init__(self, code: str) -> None:
        super().__init__("the file has more octets than are taken")
        self.code = code


Sink = Callable[[bytes], None]
"""Takes the next octets. Raises TooMuch."""
Load = Callable[[Sink], Awaitable[Outcome]]
"""Hands all octets of a file to a sink, in order; `ok` when there are no more."""


class Patience:
    """For how long something has failed again and again; when that is too long, the failure is final."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._since: dict[str, float] = {}

    def judged(self, name: str, outcome: Outcome) -> Outcome:
        """The outcome, or a final one."""
        if not outcome.retry:
            self._since.pop(name, None)
            return outcome
        now = time.monotonic()
        if now - self._since.setdefault(name, now) > self._patience_s:
            del self._since[name]
            return Outcome(FILE_UNAVAILABLE)
        if len(self._since) > _MOST_FAILING:
            self._since.pop(next(iter(self._since)))
        return outcome


@dataclass(slots=True)
class _Loading:
    task: "asyncio.Task[None] | None" = None
    size: int = 0
    ended: Outcome | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def told(self) -> None:
        before, self.changed = self.changed, asyncio.Event()
        before.set()


class Downloads:
    """All files that are being read from one network."""

    def __init__(self, spool: Spool, *, patience_s: float = PATIENCE_S) -> None:
        self._spool = spool
        self._loading: dict[str, _Loading] = {}
        self._patience = Patience(patience_s)

    async def stretch(self, name: str, load: Load, *, offset: int, size: int, most: int) -> Outcome:
        """That stretch of a file, once it is there; shorter at the file's end. Begins to load it when it is not."""
        entry = self._entry(name, load, most)
        while entry.size < offset + size and entry.ended is None:
            await entry.changed.wait()
        complete = entry.ended is None or entry.ended.code == OK
        if complete or entry.size >= offset + size:
            octets = self._spool.read(name, offset, size)
            if octets is not None:
                return self._patience.judged(name, Outcome(body=octets))
            outcome = Outcome(FILE_UNAVAILABLE, retry=True, retry_after_s=1.0)  # it gave way to others
        else:
            assert entry.ended is not None
            outcome = entry.ended
        self.drop(name, entry)
        return self._patience.judged(name, outcome)

    def _entry(self, name: str, load: Load, most: int) -> _Loading:
        entry = self._loading.get(name)
        if entry is None:
            self._spool.drop(name)
            entry = self._loading[name] = _Loading()
            entry.task = asyncio.create_task(self._load(name, entry, load, most))
        return entry

    async def _load(self, name: str, entry: _Loading, load: Load, most: int) -> None:
        def sink(octets: bytes) -> None:
            if entry.size + len(octets) > most:
                raise TooMuch(FILE_TOO_LARGE)
            code = self._spool.store(name, entry.size, octets)
            if code != OK:
                raise TooMuch(FULL)
            entry.size += len(octets)
            entry.told()

        ended = Outcome(FILE_UNAVAILABLE, retry=True)
        try:
            if self._spool.store(name, 0, b"") == OK:
                ended = await load(sink)
        except TooMuch as error:
            ended = Outcome(error.code, retry=error.code == FULL)
        except asyncio.CancelledError:
            ended = Outcome(FILE_GONE)
            raise
        except Exception:  # whatever a server made a library raise: it is asked again
            ended = Outcome(FILE_UNAVAILABLE, retry=True)
        finally:
            entry.ended = ended
            entry.told()

    def drop(self, name: str, entry: _Loading | None = None) -> None:
        """It is needed no more. With `entry`, only if it is still that attempt."""
        present = self._loading.get(name)
        if entry is not None and present is not entry:
            return
        self._loading.pop(name, None)
        if present is not None and present.task is not None and not present.task.done():
            present.task.cancel()
        self._spool.drop(name)

    async def close(self) -> None:
        """Stop loading."""
        tasks = [entry.task for entry in self._loading.values() if entry.task is not None]
        self._loading.clear()
        for task in tasks:
            task.cancel()
        with contextlib.suppress(Exception):
            await asyncio.gather(*tasks, return_exceptions=True)
