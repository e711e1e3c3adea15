"""Whatever sessions keep beside those in use: it is counted, it stays within a bound, and sessions in use stay."""

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.xmpp import inside_omemo_room
from adapters.xmpp.inside_omemo_room import KEY_OCTETS, SESSION_OCTETS, Room, Roomed, forget_room, octets_beside
from crypto.omemo.frames import KeyExchange
from crypto.omemo.model import Peer
from crypto.omemo.names import LEFT_KEYS, MAX_SKIPPED, Namespace
from crypto.omemo.ratchet import Chain, Ratchet, Skipped
from crypto.omemo.sessions import Session, Sessions, name_of
from tests.unit.fake_step import MemoryRecords

LARGE = (1 << 32) - 1
EXCHANGE = KeyExchange(LARGE, LARGE, b"i" * 33, b"e" * 32)


def session(mark: int, keys: int) -> Session:
    """As large as they come."""
    chain = Chain(LARGE, b"c" * 32)
    skipped = tuple(Skipped(b"r" * 32, LARGE - n, b"k" * 32) for n in range(keys))
    ratchet = Ratchet(b"o" * 32, b"t" * 32, chain, chain, chain, LARGE, skipped)
    left = tuple(bytes([n]) * 32 for n in range(LEFT_KEYS))
    return Session(bytes([mark]) * 32, b"d" * 33, True, True, EXCHANGE, LARGE, ratchet, left)


@dataclass(frozen=True)
class Act:
    """The sessions of a device are written: how many keys each keeps; none: they are forgotten."""

    contact: str
    device: int
    keys: tuple[int, ...]


acts = st.lists(
    st.builds(
        Act,
        st.sampled_from(("bob", "eve", "kim")),
        st.integers(0, 4),
        st.lists(st.integers(0, 30), max_size=5).map(tuple),
    ),
    max_size=40,
)


def total(records: MemoryRecords) -> dict[str, int]:
    """What is really kept with each contact."""
    found: dict[str, int] = {}
    for name, value in records.held.items():
        if isinstance(value, Sessions) and octets_beside(value):
            contact = name.split("/")[1]
            found[contact] = found.get(contact, 0) + octets_beside(value)
    return found


@settings(max_examples=200)
@given(done=acts, most=st.integers(30_000, 120_000))
def test_what_is_kept_is_counted_and_bounded_and_no_session_in_use_is_lost(done: list[Act], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inside_omemo_room, "MAX_ROOM", most)
        records = MemoryRecords()
        dropped: list[str] = []
        in_use: dict[str, int] = {}
        for number, act in enumerate(done):
            store = Roomed(records, act.contact, dropped.append)
            name = name_of(Peer(Namespace.AXOLOTL, "alice@example.org", act.device))
            if act.keys:
                written = Sessions(tuple(session(number, keys) for keys in act.keys))
                wanted = sum(total(records).values()) - store._held(name) + octets_beside(written)
                before = len(dropped)
                store.put(name, written)
                in_use[f"omemo/{act.contact}/{name}"] = number
                assert store.get(name, Sessions) == written, "the device that writes just now keeps all"
                assert (len(dropped) > before) == (wanted > most), "nothing is dropped without need"
            else:
                store.delete(name)
                in_use.pop(f"omemo/{act.contact}/{name}", None)
            assert dict((records.get("omemo-room", Room) or Room()).kept) == total(records)
            assert sum(total(records).values()) <= most
            firsts = {n: v.kept[0].identity[0] for n, v in records.held.items() if isinstance(v, Sessions)}
            assert firsts == in_use
        for contact in ("bob", "eve", "kim"):
            forget_room(records, contact)
        assert (records.get("omemo-room", Room) or Room()).kept == ()


@pytest.mark.parametrize("keys", [0, 1, MAX_SKIPPED])
def test_what_is_counted_is_never_less_than_what_it_takes(keys: int) -> None:
    def size(*kept: Session) -> int:
        return len(msgspec.msgpack.encode(Sessions(kept)))

    assert size(session(1, keys)) <= SESSION_OCTETS + KEY_OCTETS * keys
    assert size(session(1, 0), session(2, keys)) - size(session(1, 0)) <= SESSION_OCTETS + KEY_OCTETS * keys


def test_the_contact_that_keeps_most_loses_it_and_the_others_nothing() -> None:
    records = MemoryRecords()
    dropped: list[str] = []
    honest = Sessions((session(1, 20), session(2, 5)))
    Roomed(records, "bob").put("session/axolotl/1/alice@example.org", honest)
    for device in range(200):
        for form in ("2", "axolotl"):
            Roomed(records, "eve", dropped.append).put(
                f"session/{form}/{device}/alice@example.org", Sessions((session(3, MAX_SKIPPED),))
            )
    assert records.get("omemo/bob/session/axolotl/1/alice@example.org", Sessions) == honest
    assert set(dropped) == {"omemo-keys-dropped"}
    assert len(dropped) < 10
    assert sum(total(records).values()) <= inside_omemo_room.MAX_ROOM
