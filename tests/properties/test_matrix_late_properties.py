"""Keys that get lost, under any schedule of losses, restarts and other clients: no message is lost or doubled."""

from collections.abc import Callable
from contextlib import suppress

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from vodozemac import GroupSession, InboundGroupSession

from adapters.matrix import names
from adapters.matrix.inside_origin import MARK
from crypto.olm.backup import BackupKey, opened, sealed
from crypto.olm.errors import OlmError
from crypto.olm.forwarded import exported, imported, received_request, request_content, same_ratchet
from crypto.olm.keys import b64, unb64
from tests.unit.late_world import backed_up, look, lose_next_key, parked, tablet_of
from tests.unit.matrix_world import Machine, World, pair

KEY = BackupKey(bytes(range(32)))
ACTS = ("bob", "lose", "lose", "backup", "look", "restart", "resume", "bob anew", "repeat", "hold", "release", "time")
HELD = (names.BACKUP_GET, names.BACKUP_PUT, names.BACKUP_VERSION_GET, names.KEYS_QUERY, names.SEND_KEY_REQUEST)


@given(st.binary(max_size=300), st.binary(min_size=32, max_size=32))
def test_what_is_sealed_is_opened(plain: bytes, draw: bytes) -> None:
    assert opened(KEY, sealed(KEY.public(), plain, draw)) == plain


@given(st.sampled_from(["ciphertext", "ephemeral", "mac"]), st.text(max_size=100))
@example("ciphertext", "\ud800")
@example("mac", "é")
def test_any_other_text_in_an_entry_is_refused_or_opened(name: str, text: str) -> None:
    with suppress(OlmError):
        opened(KEY, {**sealed(KEY.public(), b"text", bytes(range(32))), name: text})


@given(st.binary(max_size=300))
def test_no_request_is_read_that_would_be_written_otherwise(data: bytes) -> None:
    with suppress(OlmError):
        request = received_request(data)
        again = request_content(request.device_id, request.request_id, request.wanted)
        assert again["action"] in ("request", "request_cancellation")


@given(st.integers(0, 164), st.integers(1, 255))
def test_one_changed_octet_of_an_export_is_another_ratchet_or_no_session(at: int, change: int) -> None:
    group = GroupSession()
    session = InboundGroupSession(group.session_key)
    octets = bytearray(unb64(exported(session)))
    octets[at % len(octets)] ^= change
    with suppress(OlmError):
        assert not same_ratchet(session, imported(b64(bytes(octets))))


def _act(world: World, alice: Machine, bob: Machine, act: str, number: int) -> None:
    acts: dict[str, Callable[[], None]] = {
        "bob": lambda: _written(world, bob, number),
        "lose": lambda: _lost(world, bob, number),
        "backup": lambda: backed_up(world),
        "look": lambda: look(world, alice),
        "restart": lambda: alice.starts(resumed=False),
        "resume": lambda: alice.starts(resumed=True),
        "bob anew": lambda: bob.starts(resumed=False),
        "repeat": lambda: _repeated(world, number),
        "hold": lambda: world.held.add(HELD[number % len(HELD)]),
        "release": lambda: _released(world),
        "time": lambda: setattr(alice.step, "now", alice.step.now + 60_000 * number),
    }
    acts[act]()


def _written(world: World, bob: Machine, number: int) -> None:
    bob.sends(f"text {number}", f"m{number}")
    world.settle()


def _lost(world: World, bob: Machine, number: int) -> None:
    bob.starts(resumed=False)
    lose_next_key(world, bob, [f"text {number}"])


def _repeated(world: World, number: int) -> None:
    if world.timeline:
        world.show(world.timeline[number % len(world.timeline)])


def _released(world: World) -> None:
    world.held.clear()
    world.settle()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(ACTS), max_size=20))
def test_lost_keys_lose_and_double_no_message(acts: list[str]) -> None:
    world, alice, bob = pair()
    tablet_of(world, alice)
    for number, act in enumerate(acts):
        _act(world, alice, bob, act, number)
    world.held = set()
    world.settle()
    bob.wakes("query")
    world.settle()
    backed_up(world)
    world.settle()
    for _ in range(4):
        alice.wakes("query")
        look(world, alice)
    sent = [f"text {number}" for number, act in enumerate(acts) if act in ("bob", "lose")]
    assert sorted(text.removeprefix(MARK) for text in alice.texts()) == sorted(sent)
    assert parked(alice) == []
    kept = [name for name in alice.step.records.held if name.startswith(("missing/", "parked/", "answering/"))]
    assert kept == []
