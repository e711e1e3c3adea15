"""Fuzz target: contents of events that a contact encrypts, relations beside them, and events in clear.

The first octet chooses the type of the event and where the content stands. No step raises; nothing is said to be the
user's own; what a step remembers stays small.
"""

import json
import sys

from adapters.matrix import inside_received, names
from adapters.matrix.inside_reactions import emoji_of
from adapters.matrix.inside_relations import relation_of
from crypto.message import Message
from crypto.olm.errors import OlmError
from crypto.olm.group import RoomEvent
from tests.unit.matrix_world import BOB
from tests.unit.test_matrix_content import chatting

_WORLD, _ALICE, _BOB = chatting()
_ALICE.allows(reactions="yes")
_CONTACT = _ALICE.step.account.contacts[0]
KINDS = (
    "m.room.message",
    "m.poll.start",
    "m.poll.response",
    "m.poll.end",
    "m.reaction",
    "m.room.redaction",
    "org.example.other",
    "m.location",
)


def _opened(kind: str, clear: bytes, content: bytes) -> None:
    blank = Message("$fuzzed", "", position=9)
    refusal: OlmError | None = None
    try:
        made = inside_received.message_of(_ALICE.step, _CONTACT, blank, clear, RoomEvent(0, kind, content))
        assert made is None or made.id == "$fuzzed"
        assert made is None or made.replaces not in ("a0", "$event0"), "a new wording of what the user wrote"
        assert made is None or made.reaction is None or all(emoji_of(emoji) for emoji in made.reaction.emojis)
    except OlmError as error:
        refusal = error
    assert refusal is None or refusal.__context__ is None


def _clear(kind: str, content: bytes) -> None:
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError):
        return
    made = {"type": kind, "sender": BOB, "event_id": "$fuzzed", "content": whole, "redacts": "$event1"}
    try:
        body = json.dumps({"room_id": _WORLD.room_id, "event": made}).encode()
    except (ValueError, RecursionError):
        return
    _ALICE.arrives(names.EVENT, body)
    for message in _ALICE.delivered():
        assert message.retracts != "$event0", "a redaction of what the user wrote"
        assert not message.body


def target(data: bytes) -> None:
    """Nothing but refusals may come of it."""
    if not data:
        return
    relation_of(data[1:])
    kind = KINDS[data[0] % len(KINDS)]
    held = dict(_ALICE.step.records.held)
    try:
        if data[0] & 0x80:
            _clear(kind if kind in ("m.reaction", "m.room.redaction") else "m.reaction", data[1:])
        clear, _, content = data[1:].partition(b"\n")
        _opened(kind, clear, content or clear)
        grown = [name for name in _ALICE.step.records.held if name not in held]
        assert all(len(repr(_ALICE.step.records.held[name])) < 64_000 for name in grown)
    finally:
        _ALICE.step.records.held = held
        _ALICE.step.take()
        for effects in (_ALICE.step.reports, _ALICE.step.traces, _ALICE.step.notices, _ALICE.step.signals):
            effects.clear()


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
