"""Fuzz target: messages of OMEMO for a device that has sessions, both forms. A refused one changes nothing."""

import sys

from crypto.omemo import conversation
from crypto.omemo.elements import message_element, read_message
from crypto.omemo.faults import OmemoError
from crypto.omemo.names import Namespace
from crypto.xml import MalformedXml, parse, serialize
from tests.unit.omemo_world import End

ALICE, BOB = End.make("alice@example.org", 1), End.make("bob@example.org", 2)
for _form in Namespace:
    BOB.hears(ALICE.says(b"begin", _form, BOB), ALICE.jid)
    ALICE.hears(BOB.says(b"answer", _form, ALICE), BOB.jid)


def target(data: bytes) -> None:
    """It opens or is refused."""
    try:
        message = read_message(parse(data))
    except (MalformedXml, OmemoError):
        return
    assert read_message(parse(serialize(message_element(message)))) == message
    store = BOB.shelf.copy()
    try:
        conversation.decrypted(store, BOB.dice, message, own_jid=BOB.jid, sender_jid=ALICE.jid)
    except OmemoError:
        assert store.values == BOB.shelf.values
    else:
        assert store.values != BOB.shelf.values


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
