"""Fuzz target: bundles of OMEMO, both forms. A bundle that is read is signed, and makes a session or none."""

import sys
from contextlib import suppress

from crypto.omemo import conversation
from crypto.omemo.bundles import bundle_element, read_bundle, require_signed
from crypto.omemo.faults import OmemoError
from crypto.omemo.model import Peer, Recipient
from crypto.xml import MalformedXml, parse, serialize
from tests.unit.omemo_world import End

ALICE = End.make("alice@example.org", 1)


def target(data: bytes) -> None:
    """A session with it, or one refusal."""
    with suppress(MalformedXml, OmemoError):
        bundle = read_bundle(parse(data))
        require_signed(bundle)
        assert read_bundle(parse(serialize(bundle_element(bundle)))) == bundle
        recipient = Recipient(Peer(bundle.namespace, "x@y", 1), bundle)
        made = conversation.encrypted(ALICE.shelf.copy(), ALICE.dice, {bundle.namespace: b"x"}, [recipient])
        assert len(made.elements) + len(made.refused) == 1
        assert {each.code for each in made.refused} <= {"bad-bundle"}


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
