"""Fuzz target: whatever the other side of a SCRAM login says, it is refused or is right; nothing else comes of it."""

import contextlib
import re
import sys

from companion.scram import ClientSide, NotAuthenticated, ServerSide, verifier

_KEPT = verifier("SCRAM-SHA-256", "password", b"s" * 16, 4096)
_BINDINGS = {"tls-exporter": b"e" * 32}


def target(data: bytes) -> None:
    """Two messages, one line each, for either side."""
    first, _, last = data.decode("utf-8", "replace").partition("\n")
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"):
        with contextlib.suppress(NotAuthenticated):
            server = ServerSide(mechanism, _BINDINGS, plus_offered=True)
            server.read_first(first)
            server.first(_KEPT, "server")
            server.final(last, _KEPT)
            raise AssertionError("in without the password")
    if not re.search(r"i=\d{5}", first):  # many iterations take long, and no other path
        with contextlib.suppress(NotAuthenticated):
            client = ClientSide("SCRAM-SHA-256", "user", "client", None, flag="n")
            client.first()
            client.final(first, "password")
            client.check(last)
            raise AssertionError("a server that does not know the password was believed")


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
