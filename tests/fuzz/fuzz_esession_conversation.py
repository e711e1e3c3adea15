"""Fuzz target: any stanza, in any stage of a conversation."""

import sys

from crypto.esession.conversation import Conversation, Event, Outcome, initiate, receive
from crypto.esession.retained import Retained
from crypto.esession.terms import Terms
from crypto.xml import CLIENT, MalformedXml, parse

TERMS = Terms(groups=(14,))


def _draw(name: str, size: int) -> bytes:
    return (name.encode() * size)[:size]


def _taken(state: Conversation | None, data: bytes) -> Outcome:
    return receive(state, parse(data), terms=TERMS, retained=Retained(), draw=_draw)


def _wrapped(outcome: Outcome) -> bytes:
    return f"<message xmlns='{CLIENT}'><thread>t</thread>".encode() + outcome.replies[0].payload + b"</message>"


def _stages() -> tuple[tuple[Conversation | None, ...], tuple[bytes, ...]]:
    """A conversation in each stage, and the messages that led there."""
    offered = initiate("t", TERMS, lambda name, size: _draw("other" + name, size))
    answered = _taken(None, _wrapped(offered))
    proved = _taken(offered.conversation, _wrapped(answered))
    bob = _taken(answered.conversation, _wrapped(proved))
    alice = _taken(proved.conversation, _wrapped(bob))
    steps = (offered, answered, proved, bob)
    return (None, *(s.conversation for s in (*steps, alice))), tuple(map(_wrapped, steps))


STAGES, MESSAGES = _stages()


def target(data: bytes) -> None:
    """No stanza raises, and none but the awaited one leads on."""
    if data in MESSAGES:
        return
    for state in STAGES:
        try:
            outcome = _taken(state, data)
        except MalformedXml:
            return
        assert outcome.event is not Event.CONTENT
        for reply in outcome.replies:
            parse(b"<message xmlns='jabber:client'>" + reply.payload + b"</message>")


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
