"""The supervisor's parts, each alone."""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from bridge.backoff import FIRST_S, LONGEST_S, STABLE_S, Backoff, killed_from_outside
from bridge.channel import ChannelEnded, ControlChannel
from bridge.config.models import Config
from bridge.errors import WorldError
from bridge.keeping import Keeper
from bridge.operator import counted
from bridge.register_page import PAGE_OCTETS, ROW_OCTETS, RegisterPage
from bridge.spawn import ENCLAVE, GATEWAY, Child, command, environment
from bridge.statedir import StateDir
from bridge.wire import control, gateway_control
from bridge.wire.codec import FROM_GATEWAY_CONTROL, TO_GATEWAY_CONTROL
from bridge.wire.control import MAX_ACCOUNTS
from bridge.wire.framing import Deframer, frame
from bridge.wire.permit import Channel
from crypto.enclave.register import ROW_SIZE, Register, register_size
from tests.unit.config_site import Site

CRASH = 1
KILLED = -signal.SIGKILL


# ---------------------------------------------------------------- back-off
def test_the_pause_doubles_with_every_fault_up_to_half_a_minute() -> None:
    backoff = Backoff()
    pauses = [backoff.pause_s(0.5, CRASH) for _ in range(12)]
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == LONGEST_S


def test_a_stable_minute_begins_anew() -> None:
    backoff = Backoff()
    for _ in range(8):
        backoff.pause_s(0.5, CRASH)
    assert backoff.pause_s(STABLE_S, CRASH) == FIRST_S


def test_who_is_killed_from_outside_comes_back_quickly_every_time() -> None:
    backoff = Backoff()
    assert {backoff.pause_s(0.1, KILLED) for _ in range(100)} == {FIRST_S}


def test_a_forbidden_system_call_is_a_fault_of_its_own() -> None:
    assert not killed_from_outside(-signal.SIGSYS)
    assert not killed_from_outside(-signal.SIGSEGV)
    assert not killed_from_outside(0)
    assert killed_from_outside(-signal.SIGTERM)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(-64, 255)), max_size=200))
def test_no_history_leads_to_no_pause_or_a_longer_one(history: list[tuple[float, int]]) -> None:
    backoff = Backoff()
    for lived_s, status in history:
        assert FIRST_S <= backoff.pause_s(lived_s, status) <= LONGEST_S


# ---------------------------------------------------------------- the register's memory
def test_the_register_page_has_room_for_every_account() -> None:
    assert ROW_OCTETS == ROW_SIZE
    assert register_size(MAX_ACCOUNTS) <= PAGE_OCTETS


def test_the_register_page_cannot_be_resized_under_its_readers() -> None:
    page = RegisterPage()
    assert fcntl.fcntl(page.descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
    with pytest.raises(PermissionError):
        os.ftruncate(page.descriptor, 0)
    page.close()


def test_clearing_a_slot_forgets_that_slot_only() -> None:
    page = RegisterPage()
    register = Register(page._memory)
    for slot in (6, 7, 8):
        register.emit(slot, 40 + slot)
    page.clear(7)
    assert [register.emitted(slot) for slot in (6, 7, 8)] == [46, 0, 48]
    page.close()


# ---------------------------------------------------------------- spawning
def test_the_enclave_inherits_nothing_of_the_environment() -> None:
    polluted = {"LD_PRELOAD": "/tmp/x.so", "PYTHONSTARTUP": "/tmp/x", "PATH": "/bin", "HTTPS_PROXY": "http://proxy"}
    assert environment(ENCLAVE, polluted) == environment(ENCLAVE, {})


def test_the_gateway_inherits_only_what_connections_need() -> None:
    polluted = {"LD_PRELOAD": "/tmp/x.so", "PYTHONSTARTUP": "/tmp/x", "PATH": "/bin", "HTTPS_PROXY": "http://proxy"}
    extra = environment(GATEWAY, polluted).items() - environment(GATEWAY, {}).items()
    assert dict(extra) == {"PATH": "/bin", "HTTPS_PROXY": "http://proxy"}


def test_the_enclaves_freed_memory_is_overwritten() -> None:
    own = environment(ENCLAVE, {})
    assert own["PYTHONMALLOC"] == "malloc"
    assert int(own["MALLOC_PERTURB_"]) in range(1, 256)
    assert "glibc.malloc.tcache_count=0" in own["GLIBC_TUNABLES"]


def test_children_do_not_look_into_the_working_directory() -> None:
    for role in (GATEWAY, ENCLAVE):
        assert "-P" in command(role, [])


async def test_a_child_that_ends_is_told_of() -> None:
    child = Child(ENCLAVE, ["--nonsense"], [])
    assert await child.end(20) == 2
    assert not child.alive
    child.signal(signal.SIGTERM)


# ---------------------------------------------------------------- keeping
class Failing:
    """A post whose processes end at once, until they are enough."""

    role = ENCLAVE
    restarts = 0
    ready = False

    def __init__(self, enough: int, *, expected: bool) -> None:
        self.keeper = Keeper(self)
        self.seen: list[int] = []
        self._enough = enough
        self._expected = expected

    async def begin(self) -> Child:
        return Child(ENCLAVE, ["--nonsense"], [])

    async def ended(self, child: Child, status: int) -> bool:
        self.seen.append(status)
        if len(self.seen) == self._enough:
            self.keeper.leave()
        return self._expected

    async def status(self) -> object | None:
        return None

    def kill(self) -> None:
        raise AssertionError("nobody is stuck")


async def test_a_process_that_ends_is_started_again_until_its_post_is_left() -> None:
    post = Failing(3, expected=True)
    await asyncio.wait_for(post.keeper.keep(), 30)
    assert post.seen == [2, 2, 2]
    assert post.restarts == 2


class Silent(Failing):
    """A post whose process runs but says nothing."""

    ready = True

    async def begin(self) -> Child:
        self.running = child = Child(ENCLAVE, ["--link-fd", "0", "--probe"], [])
        child.signal(signal.SIGSTOP)
        return child

    def kill(self) -> None:
        self.running.signal(signal.SIGKILL)


async def test_a_process_that_answers_no_more_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.keeping.WATCH_EVERY_S", 0.02)
    post = Silent(1, expected=True)
    await asyncio.wait_for(post.keeper.keep(), 30)
    assert post.seen == [KILLED]


# ---------------------------------------------------------------- the folder
@pytest.fixture
def config(tmp_path: Path) -> Config:
    site = Site(tmp_path)
    site.change(("sqlite:///var/lib/lockgate/ledger.db", "sqlite:made/ledger.db"))
    return site.load().config


def test_the_folder_is_made_for_the_owner_only(config: Config) -> None:
    StateDir(config).close()
    assert config.runtime_dir.stat().st_mode & 0o777 == 0o700


def test_a_second_supervisor_is_kept_out_until_the_first_is_gone(config: Config) -> None:
    first = StateDir(config)
    with pytest.raises(WorldError, match="another Lockgate is running"):
        StateDir(config)
    first.close()
    StateDir(config).close()


def test_a_folder_that_cannot_be_made_is_named(config: Config) -> None:
    config.runtime_dir.parent.joinpath("made").write_text("a file in its place")
    with pytest.raises(WorldError, match="made: cannot be used"):
        StateDir(config)


# ---------------------------------------------------------------- the control channel
class Far:
    """The gateway's end of a channel, and what the supervisor's end heard."""

    def __init__(self) -> None:
        ours, self.sock = socket.socketpair()
        self.heard: list[object] = []
        self.broken = 0
        self.channel: ControlChannel[gateway_control.AskGateway, gateway_control.Health] = ControlChannel(
            ours,
            TO_GATEWAY_CONTROL,
            FROM_GATEWAY_CONTROL,
            side=Channel.SUPERVISOR_FROM_GATEWAY,
            heard=self.heard.append,
            broken=self._break,
        )
        self.sock.setblocking(False)
        self._deframer = Deframer()

    def _break(self) -> None:
        self.broken += 1

    async def say(self, word: gateway_control.Serving | gateway_control.Health | gateway_control.GatewayStatus) -> None:
        await self.raw(FROM_GATEWAY_CONTROL.encode(word))

    async def raw(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)
        for _ in range(5):
            await asyncio.sleep(0.005)

    async def next(self) -> object:
        while True:
            data = await asyncio.get_running_loop().sock_recv(self.sock, 65536)
            if payloads := self._deframer.feed(data):
                return TO_GATEWAY_CONTROL.decode(payloads[0])


@pytest_asyncio.fixture
async def far() -> AsyncIterator[Far]:
    made = Far()
    yield made
    made.channel.close()
    made.sock.close()


def ask(nonce: int) -> gateway_control.AskGateway:
    return gateway_control.AskGateway(nonce=nonce)


def status(nonce: int) -> gateway_control.GatewayStatus:
    return gateway_control.GatewayStatus(nonce=nonce, inbox=0, outbox=0, parked=0, counters=(), health=())


def test_what_the_enclave_reports_and_the_gateway_counts_too_is_told_once() -> None:
    seen, lost = control.Counter(code="seen", count=2), control.Counter(code="lost", count=1)
    enclave = control.Status(nonce=1, legs=(), counters=(seen,), unloaded=())
    gateway = gateway_control.GatewayStatus(nonce=1, inbox=0, outbox=4, parked=0, counters=(seen, lost), health=())
    assert counted(enclave, gateway) == {"seen": 2, "lost": 1, "inbox": 0, "outbox": 4, "parked": 0}
    assert counted(enclave, None) == {"seen": 2}


async def test_words_are_heard_and_answers_find_their_question(far: Far) -> None:
    await far.say(gateway_control.Serving())
    asking = asyncio.create_task(far.channel.ask(ask, 5))
    question = await far.next()
    assert isinstance(question, gateway_control.AskGateway)
    await far.say(status(question.nonce + 1))
    assert not asking.done()
    await far.say(status(question.nonce))
    assert isinstance(await asking, gateway_control.GatewayStatus)
    assert far.heard == [gateway_control.Serving()]


async def test_a_question_without_an_answer_ends_and_the_channel_goes_on(far: Far) -> None:
    with pytest.raises(ChannelEnded):
        await far.channel.ask(ask, 0.05)
    await far.say(gateway_control.Serving())
    assert far.heard == [gateway_control.Serving()]
    assert far.broken == 0


async def test_a_question_ends_when_the_channel_does(far: Far) -> None:
    asking = asyncio.create_task(far.channel.ask(ask, 60))
    await far.next()
    far.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ChannelEnded):
        await asking


@pytest.mark.parametrize(
    "data", [frame(b"{}"), frame(b"\xff"), bytes(4), b"\xff\xff\xff\xff", frame(b'{"t":"locked"}')]
)
async def test_a_violation_ends_the_channel_and_its_process(far: Far, data: bytes) -> None:
    await far.raw(data)
    assert far.broken == 1
    assert far.channel.violated
    with pytest.raises(ChannelEnded):
        await far.channel.send(ask(1))


async def test_a_word_that_is_not_permitted_now_ends_the_channel(far: Far) -> None:
    await far.say(gateway_control.Serving())
    await far.say(gateway_control.Serving())
    assert far.heard == [gateway_control.Serving()]
    assert far.broken == 1


async def test_a_process_that_does_not_read_is_given_up(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.channel.SEND_WITHIN_S", 0.1)
    sent = 0
    with contextlib.suppress(ChannelEnded):
        for sent in range(100_000):
            await far.channel.send(ask(sent))
    assert sent < 99_999
    assert far.broken == 1


async def test_a_descriptor_follows_its_order(far: Far, tmp_path: Path) -> None:
    file = tmp_path / "given"
    file.write_text("content")
    given = os.open(file, os.O_RDONLY)
    await far.channel.send(ask(7), given)
    os.close(given)
    await asyncio.sleep(0.02)
    data, descriptors, _, _ = socket.recv_fds(far.sock, 65536, 4)
    if not descriptors:
        more, descriptors, _, _ = socket.recv_fds(far.sock, 65536, 4)
        data += more
    assert os.read(descriptors[0], 100) == b"content"
    os.close(descriptors[0])
    assert data.endswith(b"\0")
