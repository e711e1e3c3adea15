"""Fuzz target: the part of an OMEMO message that is for one device: a mark, then octets. Both forms, both kinds."""

import sys

from crypto.omemo import conversation
from crypto.omemo.faults import OmemoError
from crypto.omemo.model import Key, Message
from crypto.omemo.names import Namespace
from tests.fuzz.fuzz_omemo_message import ALICE, BOB

FORMS = tuple(Namespace)


def target(data: bytes) -> None:
    """It opens or is refused, and a refused one changes nothing."""
    mark, octets = data[0] if data else 0, data[1:]
    form, prekey = FORMS[mark & 1], bool(mark & 2)
    key = Key(BOB.jid if form is Namespace.OMEMO_2 else None, BOB.device_id, prekey, octets)
    store = BOB.shelf.copy()
    try:
        message = Message(form, ALICE.device_id, (key,))
        conversation.decrypted(store, BOB.dice, message, own_jid=BOB.jid, sender_jid=ALICE.jid)
    except OmemoError:
        assert store.values == BOB.shelf.values


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
