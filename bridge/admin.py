"""The admin socket: one JSON object a line in, one a line out. Who can open it may steer this Lockgate.

Requests: `{"op": "status"}`; `{"op": "trust", "account": ..., "contact": ..., "decision": "verify" |
"verify-weak-string" | "approve" | "distrust"}`, with `"network"` for another leg than the one to the XMPP user, and
with what was compared as `"sas"` or `"key"`; `{"op": "release", "positions": [...]}` for inputs that were parked;
`{"op": "recovery-key", "account": ...}`, which is answered once; `{"op": "recover", "account": ..., "secret": ...}`;
`{"op": "verify", "account": ..., "contact": ..., "action": "begin" | "begin-to-device" | "show" | "match" | "differ"
| "cancel"}`, with the numbers that were `"compared"`. Errors are `{"error": code}`.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

MAX_LINE: Final = 64 << 10

Answer = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class AdminSocket:
    """Listens until closed."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self._path = path
        self._answer = answer
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen. A socket that a killed supervisor left is replaced: the caller holds the folder's lock."""
        sock = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            self._path.unlink(missing_ok=True)
            sock.bind(str(self._path))
        finally:
            os.umask(before)
        self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=MAX_LINE)

    def close(self) -> None:
        """Listen no more, and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                reply = await self._reply(line)
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        writer.close()

    async def _reply(self, line: bytes) -> Mapping[str, Any]:
        request = None
        with contextlib.suppress(ValueError, RecursionError):
            request = json.loads(line)
        if not isinstance(request, dict):
            return {"error": "not-json"}
        return await self._answer(request)
