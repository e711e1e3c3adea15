"""Fuzz target: whatever a local program writes to the companion, its stream ends with an error or goes on."""

import sys

from companion.local_events import BindWanted, EnableWanted, OfferWanted, ResumeWanted, StartTls
from companion.local_stream import LocalStream
from tests.unit import companion_world as world


def target(data: bytes) -> None:
    """Nothing is raised, in whatever phase it comes and however it is cut; no phase is skipped."""
    for make in (world.opened, world.secured, world.authenticated, world.bound):
        for size in (3, len(data) or 1):
            stream = make()
            begun = stream.authenticated
            for start in range(0, len(data), size):
                _answer(stream, data[start : start + size])
            assert begun or not stream.authenticated or world.PASSWORD_MARK in data
            stream.to_send()


def _answer(stream: LocalStream, data: bytes) -> None:
    for event in stream.feed(data):
        if isinstance(event, StartTls):
            stream.secured({"tls-exporter": b"x" * 32})
        elif isinstance(event, OfferWanted):
            stream.offer("")
        elif isinstance(event, BindWanted):
            stream.bound("alice@example.org/r")
        elif isinstance(event, ResumeWanted):
            stream.not_resumed()
        elif isinstance(event, EnableWanted):
            stream.enabled("token", 300)


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
