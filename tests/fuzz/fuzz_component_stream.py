"""Fuzz target: whatever answers at the component port, the probe reads it or says that it is not XMPP."""

import contextlib
import sys

from bridge.probe.stream import NotXmpp, StreamReader


def target(data: bytes) -> None:
    """Only `NotXmpp` may come of it, however the octets are cut."""
    for size in (1, 7, len(data) or 1):
        with contextlib.suppress(NotXmpp):
            reader = StreamReader()
            for start in range(0, len(data), size):
                reader.feed(data[start : start + size])


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
