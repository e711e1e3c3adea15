"""Fuzz target: messages of a verification, into the parser and into every state of the machine.

The first octet chooses; only `OlmError` may come of it, and its text never repeats the input.
"""

import sys
from collections.abc import Callable

from crypto.olm import verification_messages as messages
from crypto.olm import verification_states as states
from crypto.olm.errors import OlmError
from crypto.olm.sas import Ends, Party, public_of
from crypto.olm.verification import advanced, ended, is_request

_CODE = bytes(range(16))
_KINDS = ("request", "ready", "start", "accept", "key", "mac", "done", "cancel")
_US, _THEM = Party("@a:x", "A", "K" * 43, "M" * 43), Party("@b:x", "B", "L" * 43, "N" * 43)
_FLOW = states.Flow(Ends("$t", _US, _THEM), in_room=True)
_SECRET = bytes(range(32))


def _reached() -> tuple[states.State, ...]:
    """Every state that a peer can send to."""
    prepared = states.Prepared(_FLOW)
    started, _ = advanced(prepared, states.Begun())
    offer = started.start if isinstance(started, states.Started) else b""
    strings = (messages.EMOJI, messages.DECIMAL)
    committed = states.Committed(_FLOW, strings, _SECRET)
    comparing, _ = advanced(committed, messages.Key(public_of(bytes([7]) * 32)))
    confirmed, _ = advanced(comparing, states.Matched())
    revealed = states.Revealed(_FLOW, offer, strings, "c", _SECRET)
    asked = states.Requested("$t", in_room=True, us=_US)
    showing, scanned = states.Prepared(_FLOW, _CODE), states.Scanned(_FLOW)
    return (asked, states.Asked(_FLOW), prepared, showing, scanned, started, committed, revealed, comparing, confirmed)


STATES = _reached()


def _parser(name: str) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        for in_room in (True, False):
            try:
                messages.transaction_of(data, in_room=in_room)
            except OlmError:
                continue
        message = messages.message_of(messages.PREFIX + name, data)
        for state in STATES:
            _heard(state, message)

    return read


def _heard(state: states.State, message: messages.Message) -> None:
    match message:
        case messages.Request():
            return
        case messages.Ready():
            event: states.Event = states.Answered(_THEM, message.methods, _CODE)
        case messages.Start():
            event = states.Began(message, _SECRET)
        case messages.Accept():
            event = states.Promised(message, _SECRET)
        case _:
            event = message
    try:
        following, _ = advanced(state, event)
    except OlmError:
        following, _ = ended(state, states.INVALID)
    assert not isinstance(following, states.Verified), "nobody proves keys without the secret"
    if isinstance(following, states.Scanned) and not isinstance(state, states.Scanned):
        assert isinstance(message, messages.Reciprocate)
        assert message.secret == _CODE, "nobody scans a code without its secret"


def _request(data: bytes) -> None:
    is_request(data)


PARSERS: tuple[Callable[[bytes], None], ...] = (*(_parser(name) for name in _KINDS), _request)


def target(data: bytes) -> None:
    """Only `OlmError` may come of it, without the error that caused it."""
    refusal: OlmError | None = None
    try:
        PARSERS[data[0] % len(PARSERS)](data[1:]) if data else None
    except OlmError as error:
        refusal = error
    assert refusal is None or (refusal.__context__ is None and str(refusal) == refusal.sentence)


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
