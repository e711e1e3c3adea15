"""Asking a running gateway: one JSON line to the supervisor's socket, one JSON line back."""

import json
import socket
from pathlib import Path
from typing import Any

from bridge.errors import Problem, WorldError

PATIENCE_S = 15.0
MAX_REPLY = 16 << 20


def ask(path: Path, request: dict[str, object]) -> dict[str, Any]:
    """The reply to a request. Raises `WorldError` when nobody answers, or the reply is a refusal."""
    trouble: Problem
    try:
        reply = _exchange(path, request)
    except (FileNotFoundError, ConnectionRefusedError):
        trouble = Problem("not-running", str(path), "the gateway is not running", "Start it: lockgate run -c FILE")
    except PermissionError:
        trouble = Problem("forbidden", str(path), "this user may not ask the gateway", "Ask as the user that runs it.")
    except (OSError, ValueError):
        remedy = "Look at its log; try again."
        trouble = Problem("no-reply", str(path), "the gateway does not answer as it should", remedy)
    else:
        error = reply.get("error")
        if error is None:
            return reply
        trouble = Problem("refused", str(path), f"the gateway refused: {error}", "Look at its log.")
    raise WorldError(trouble)


def running(path: Path) -> bool:
    """Whether a gateway listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PATIENCE_S)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _exchange(path: Path, request: dict[str, object]) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(str(path))
        connection.sendall(json.dumps(request).encode() + b"\n")
        received = bytearray()
        while b"\n" not in received and len(received) <= MAX_REPLY:
            part = connection.recv(1 << 16)
            if not part:
                break
            received += part
    reply = json.loads(received)
    if not isinstance(reply, dict):
        raise ValueError("not an object")
    return reply
