"""Records that were sealed before their classes got more fields are read as if those had their defaults."""

from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

import msgspec
import pytest

from adapters.matrix.inside_identity import IdentityState
from adapters.matrix.inside_state import Forgotten
from adapters.xmpp.inside_omemo_binding import Told
from adapters.xmpp.inside_omemo_outbox import Out, Sending
from adapters.xmpp.inside_omemo_trust import Keys, Known
from crypto.enclave.statecodec import decoded, encoded
from crypto.omemo.names import Namespace
from crypto.omemo.sessions import Session, Sessions
from tests.unit.omemo_world import End
from tests.unit.xmpp_site import ALICE, BOB

KEY = bytes(32)
ADDED: dict[type, frozenset[str]] = {
    Known: frozenset({"voucher", "said_ms"}),
    Session: frozenset({"cut"}),
    IdentityState: frozenset({"storage_key_id"}),
    Forgotten: frozenset({"unproved"}),
    Out: frozenset({"heard"}),
    Sending: frozenset({"copied", "given_up"}),
}
"""Fields that are younger than their class."""


def older(value: Any) -> Any:
    """The value as an older version wrote it: without the fields that it did not have."""
    if is_dataclass(value):
        left_out = ADDED.get(type(value), frozenset())
        named = ((each.name, getattr(value, each.name)) for each in fields(value))
        return {name: older(found) for name, found in named if name not in left_out}
    return [older(each) for each in value] if isinstance(value, tuple) else value


def conversed() -> Sessions:
    """Sessions with a device that wrote and was answered."""
    bob, phone = End.make(BOB, 5), End.make(ALICE, 11)
    phone.hears(bob.says(b"x", Namespace.OMEMO_2, phone), BOB)
    bob.hears(phone.says(b"y", Namespace.OMEMO_2, bob), ALICE)
    return next(value for value in bob.shelf.values.values() if isinstance(value, Sessions))


@pytest.mark.parametrize(
    "record",
    [
        Keys((Known(KEY, "verified", 7, "user"), Known(KEY[1:] + b"x", "blind", 8)), ever_verified=True),
        conversed(),
        IdentityState(storage_key=KEY, pending=("a",)),
        Forgotten(((b"digest", 5),)),
        Out(b"<encrypted/>", "both", tries=2, due_ms=9, bounces=1, bounced=True),
        Sending(used=True, receipts=True, look_ms=3, hold_ms=4),
        Told(("omemo-no-devices",), (("omemo-device-new", 5),)),
    ],
    ids=lambda record: type(record).__name__,
)
def test_an_older_record_says_the_same(record: object) -> None:
    octets = msgspec.msgpack.encode(older(record))
    assert octets != encoded(record, KEY) or isinstance(record, Told)
    assert decoded(octets, type(record), KEY) == record


@pytest.mark.parametrize("kind", ADDED, ids=lambda kind: kind.__name__)
def test_what_was_added_has_a_default(kind: type) -> None:
    known: dict[str, Field[Any]] = {each.name: each for each in fields(kind)}
    for name in ADDED[kind]:
        assert (known[name].default, known[name].default_factory) != (MISSING, MISSING)
