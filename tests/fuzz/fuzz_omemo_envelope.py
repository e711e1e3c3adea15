"""Fuzz target: envelopes of omemo:2. Only such as name the stanza's sender are taken."""

import sys
from contextlib import suppress

from crypto.omemo.envelope import opened_envelope, sealed_envelope
from crypto.omemo.faults import OmemoError
from tests.unit.omemo_world import Dice

ALICE, BOB = "alice@example.org", "bob@example.org"


def target(data: bytes) -> None:
    """Its content, which may be put in another envelope, or one refusal."""
    with suppress(OmemoError):
        opened = opened_envelope(data, sender=ALICE, recipient=BOB)
        again = sealed_envelope(opened.content, Dice("x"), sender=ALICE, recipient=BOB, stamp=opened.stamp)
        assert opened_envelope(again, sender=ALICE, recipient=BOB) == opened


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
