"""Fuzz target: what peers send, down to the octets of Olm and Megolm messages, keys and signatures.

The first octet chooses the parser; only `OlmError` may come of it, and its text never repeats the input.
"""

import sys
from collections.abc import Callable

from vodozemac import Account, GroupSession, InboundGroupSession

from crypto.olm import canonical, device, group, keys, pairwise, pickles
from crypto.olm.errors import OlmError

_ACCOUNT = Account()
_OWN = device.own_device(_ACCOUNT, "@alice:x", "A")
_GROUP = GroupSession()
_INBOUND = InboundGroupSession(_GROUP.session_key)


def _device(data: bytes) -> None:
    device.verified_device("@alice:x", "A", canonical.decoded_object(data))


def _one_time_key(data: bytes) -> None:
    device.verified_one_time_key(_OWN, canonical.decoded_object(data))


def _olm_content(data: bytes) -> None:
    pairwise.message_for(_OWN, data)


def _olm_message(data: bytes) -> None:
    for kind in (0, 1):
        pairwise.opened(_ACCOUNT, [], pairwise.OlmMessage(_OWN.curve25519, kind, data))


def _olm_plaintext(data: bytes) -> None:
    pairwise.checked_event(_OWN, "@bob:x", pairwise.OlmMessage(_OWN.curve25519, 1, b""), data)


def _room_key(data: bytes) -> None:
    group.received_room_key(data)


def _megolm_content(data: bytes) -> None:
    group.opened_event(_INBOUND, group.sealed_event(data), "!r:x")


def _megolm_message(data: bytes) -> None:
    content = b'{"algorithm":"m.megolm.v1.aes-sha2","session_id":"%s","ciphertext":"%s"}' % (
        _GROUP.session_id.encode(),
        keys.b64(data).encode(),
    )
    group.opened_event(_INBOUND, group.sealed_event(content), "!r:x")


def _canonical(data: bytes) -> None:
    value = canonical.decoded(data, object)
    text = canonical.canonical(value)
    assert canonical.canonical(canonical.decoded(text, object)) == text


def _pickle(data: bytes) -> None:
    for kind in pickles.KINDS:
        try:
            pickles.decode(data, kind, b"k" * 32)
        except pickles.BadPickle:
            continue


PARSERS: tuple[Callable[[bytes], None], ...] = (
    _device,
    _one_time_key,
    _olm_content,
    _olm_message,
    _olm_plaintext,
    _room_key,
    _megolm_content,
    _megolm_message,
    _canonical,
    _pickle,
)


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
