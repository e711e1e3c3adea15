"""Fuzz target: what OAuth 2.0 servers answer, and a session file that somebody damaged."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from yarl import URL

from adapters.matrix import outside_oauth_answers as answers
from adapters.matrix.outside_oauth_answers import OAuthFailed
from adapters.matrix.outside_session import BadSession, read_session, write_session
from bridge.urls import is_loopback

T = TypeVar("T")
_FOLDER = Path(tempfile.mkdtemp(prefix="lg-fuzz-"))


def target(data: bytes) -> None:
    """Only the declared refusals are raised; what is taken is safe to send tokens to, and to put into a header."""
    for status in (200, 302, 400, 401, 429, 500):
        assert answers.error_code(status, data)
    server = _taken(answers.metadata, data)
    if server is not None:
        for url in (server.issuer, server.token_endpoint, server.registration_endpoint):
            assert url is None or _is_safe(url)
    begun = _taken(answers.device_authorization, data)
    if begun is not None:
        assert _is_safe(begun.verification_uri)
        assert begun.user_code.isprintable()
        assert 0 <= begun.interval_s <= answers.MOST_INTERVAL_S
    tokens = _taken(answers.tokens, data)
    if tokens is not None:
        assert not set(tokens.access_token) & set("\r\n \0")
    _taken(answers.client_id, data)
    _file(data)


def _taken(read: Callable[[bytes], T], data: bytes) -> T | None:
    try:
        return read(data)
    except OAuthFailed:
        return None


def _is_safe(url: str) -> bool:
    parsed = URL(url)
    return parsed.scheme == "https" or is_loopback(parsed.host or "")


def _file(data: bytes) -> None:
    path = _FOLDER / "session"
    path.touch(0o600)
    path.write_bytes(data)
    try:
        session = read_session(path)
    except BadSession:
        return
    assert session is not None
    write_session(path, session)
    assert read_session(path) == session


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
