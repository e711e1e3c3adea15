"""Fuzz target: orders to the gateway itself, in words and as commands, into the real halves of an enclave.

The first octet chooses the form and what is known of the writer. Nothing may be raised; what is answered is made of
sentences of ours and of the operator's map; and nothing is decided but by who was verified and names what was shown.
"""

import sys

from adapters.control import inside_forms, inside_orders
from adapters.control import inside_words as words
from adapters.inside_api import Steering
from adapters.xmpp.inside_commands import MOST_FIELDS, order_of
from bridge.wire.values import CONTROL
from crypto.commands import Answer
from crypto.enclave.run import HalfStep
from crypto.message import Standing
from crypto.xml import MalformedXml, parse
from tests.unit.control_site import SAS
from tests.unit.test_omemo_decisions import DESKTOP, PHONE, OmemoDesk

STANDINGS = tuple(Standing)
MARK = " ".join(str(number) for number in SAS.decimal)
_DECIDED = {words.key_decided(code) for code in ("ok", "not-a-fingerprint", "unknown-key", "")}
_OURS = {text for name, text in vars(words).items() if name.isupper() and isinstance(text, str)}
KEYS = (PHONE.identity.hex(), DESKTOP.identity.hex())
_DESK: list[OmemoDesk] = []


class Undone(Exception):
    """The step is to leave nothing behind."""


def _desk() -> OmemoDesk:
    """One enclave for all runs, with two devices of the user's that are trusted blindly: each step is undone."""
    if not _DESK:
        desk = OmemoDesk()
        desk.comparing()
        _DESK.append(desk)
    return _DESK[0]


def words_of(text: str, standing: Standing) -> tuple[str, bool]:
    """What is said to an order in words, and whether it decided something. A verification stands where both compare."""
    found: list[tuple[str, bool]] = []

    def act(step: HalfStep) -> None:
        inside_orders.answered(step, "verify bob", Standing.VERIFIED)
        said = inside_orders.answered(step, text, standing)
        found.append((said, _decided(step)))
        raise Undone

    _desk().account.order(CONTROL, act)
    return found[0]


def form_of(octets: bytes, standing: Standing) -> tuple[Answer | None, bool]:
    """The same for a command."""
    order = order_of(parse(octets), standing)
    found: list[tuple[Answer | None, bool]] = []

    def act(step: HalfStep) -> None:
        found.append((inside_forms.answered(step, order) if order is not None else None, _decided(step)))
        raise Undone

    assert order is None or len(order.answers) <= MOST_FIELDS
    _desk().account.order(CONTROL, act)
    return found[0]


def _decided(step: Steering) -> bool:
    bob = step.account.contact_by_id("bob")
    assert bob is not None
    believed = {device.state for device in inside_orders.user_devices(step)}
    return step.drive(bob, "show")[1].state != "comparing" or believed != {"blind"}


def _names_key(data: bytes) -> bool:
    digits = "".join(char for char in data.decode("utf-8", "replace").lower() if char in "0123456789abcdef")
    return any(key in digits for key in KEYS)


def target(data: bytes) -> None:
    """See above."""
    if not data:
        return
    standing = STANDINGS[data[0] // 2 % len(STANDINGS)]
    if data[0] % 2:
        try:
            answer, decided = form_of(data[1:], standing)
        except MalformedXml:
            return
        named = MARK.encode() in data or b"cancel" in data or _names_key(data)
        assert answer is None or standing is not Standing.PLAIN
    else:
        text = data[1:].decode("utf-8", "replace")
        said, decided = words_of(text, standing if standing is not Standing.PLAIN else Standing.ENCRYPTED)
        named = MARK.split(" ", 1)[0] in text or "cancel" in text.lower() or _names_key(data)
        said = said.removesuffix(f"\n{words.NOTE_UNVERIFIED}")
        assert said in _OURS or "bob" in said or said.startswith("Device ") or said in _DECIDED
    assert not decided or named, "something was decided that was not named"
    assert not decided or standing is Standing.VERIFIED, "somebody else decided"


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
