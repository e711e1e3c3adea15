"""The step function, the router, restoring and the register, without a process around them."""

import hashlib
from dataclasses import dataclass, field

import pytest

from adapters.inside_api import InsideHalf, LegStatus, Step
from adapters.loopback.inside import LoopbackInside
from bridge.wire import control, link
from bridge.wire.codec import FROM_ENCLAVE
from bridge.wire.link import Carry, Remember, SealedRecord, Stepped
from bridge.wire.values import Address, Code, Sealed
from crypto.enclave.chamber import MAX_UNCOMMITTED, Chamber, Misuse
from crypto.enclave.register import ROW_SIZE, Register
from crypto.message import Assurance, Signal, Typing
from tests.unit.paper import Count, PaperInside

KEY = bytes(range(32))


@dataclass(frozen=True)
class Big:
    """A record of any size."""

    data: bytes


@dataclass
class FakeHost:
    """Time stands still, draws are numbered."""

    drawn: int = 0

    def now_ms(self) -> int:
        return 1_800_000_000_000

    def draw(self, name: str, size: int) -> bytes:
        self.drawn += 1
        return hashlib.shake_128(f"{name}{self.drawn}".encode()).digest(size)


def account_map(require: control.AssuranceName = "none") -> control.AccountMap:
    contact = control.ContactMap(
        id="echo", network="loopback", address="echo", alias="echo@gate.example", require=require
    )
    return control.AccountMap(
        id="alice", slot=1, near_network="paper", near_address="alice@a.example", far_addresses=(), contacts=(contact,)
    )


@dataclass
class Bench:
    """A chamber, and a ledger that is a dictionary."""

    memory: bytearray = field(default_factory=lambda: bytearray(8 * ROW_SIZE))
    records: dict[str, SealedRecord] = field(default_factory=dict)
    require: control.AssuranceName = "none"
    key: bytes = KEY
    host: FakeHost = field(default_factory=FakeHost)

    def __post_init__(self) -> None:
        self.position = 0
        self.restart()

    def restart(self) -> None:
        halves: dict[str, InsideHalf] = {"paper": PaperInside(), "loopback": LoopbackInside()}
        mapped = account_map(self.require)
        self.chamber = Chamber(halves, self.host, Register(self.memory), self.key, {mapped.id: mapped})

    def keep(self, remembers: tuple[Remember, ...]) -> None:
        for delta in remembers:
            if delta.sealed is None:
                self.records.pop(delta.name, None)
            else:
                self.records[delta.name] = SealedRecord(name=delta.name, version=delta.version, sealed=delta.sealed)

    def restore(self, *, keep: bool = True) -> str:
        """Hand the records in; returns the code."""
        request = link.Restore(account="alice", records=tuple(self.records.values()), last=True)
        restored, *started = self.chamber.from_gateway(request)
        assert isinstance(restored, link.Restored)
        for stepped in started:
            assert isinstance(stepped, Stepped)
            assert stepped.refused is None
            if keep:
                self.keep(stepped.remembers)
        return restored.code

    def send(self, text: str, *, keep: bool = True) -> Stepped:
        self.position += 1
        body = b"echo\0" + text.encode()
        [stepped] = self.chamber.from_gateway(
            link.Input(
                position=self.position, account="alice", source="arrival", network="paper", name="text", body=body
            )
        )
        assert isinstance(stepped, Stepped)
        if keep:
            self.keep(stepped.remembers)
        return stepped

    def answer(self, carry: Carry, code: str = "ok") -> Stepped:
        self.position += 1
        [stepped] = self.chamber.from_gateway(
            link.Input(
                position=self.position,
                account="alice",
                source="answer",
                network="loopback",
                name=carry.request,
                key=carry.key,
                code=code,
            )
        )
        assert isinstance(stepped, Stepped)
        self.keep(stepped.remembers)
        return stepped

    def resumed(self) -> bool:
        """What `started` was told last."""
        count = self.chamber.accounts["alice"].vault.get("paper/count", Count)
        assert count is not None
        return count.resumed


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    assert made.restore() == "ok"
    return made


def test_a_message_goes_through_and_its_sender_hears_of_it(bench: Bench) -> None:
    sent = bench.send("hello")
    [echo] = sent.carries
    assert (echo.network, echo.request) == ("loopback", "echo")
    assert [trace.stage for trace in sent.traces] == ["opened", "permitted", "sealed"]
    body = echo.values["body"]
    assert isinstance(body, Sealed)
    assert b"hello" not in body.v
    [note] = bench.answer(echo).carries
    assert note.values["code"] == Code(v="has-it")


def test_an_answer_that_comes_twice_acknowledges_once(bench: Bench) -> None:
    [echo] = bench.send("hello").carries
    assert len(bench.answer(echo).carries) == 1
    assert bench.answer(echo).carries == ()


def test_a_failure_far_away_is_told_to_the_sender(bench: Bench) -> None:
    [echo] = bench.send("hello").carries
    [note] = bench.answer(echo, "forbidden").carries
    assert note.values["code"] == Code(v="far-network-refused")


def test_a_leg_weaker_than_required_refuses_before_anything_is_sent() -> None:
    bench = Bench(require="end-to-end")
    bench.restore()
    [note] = bench.send("hello").carries
    assert note.values["code"] == Code(v="far-leg-too-weak")


def test_a_file_for_a_network_that_has_none_is_refused(bench: Bench) -> None:
    [note] = bench.send("file").carries
    assert note.values["code"] == Code(v="files-not-allowed")


@pytest.mark.parametrize(
    ("text", "code"),
    [("raise", "raised-lookup-error"), ("shape", "raised-egress"), ("undeclared", "raised-egress")],
)
def test_a_step_that_raises_has_no_effect_and_says_only_what_class_of_error_it_was(
    bench: Bench, text: str, code: str
) -> None:
    before = dict(bench.records)
    refused = bench.send(text)
    assert (refused.refused, refused.carries, refused.remembers) == (code, (), ())
    assert bench.records == before
    assert bench.send("hello").refused is None


def test_state_survives_a_restart_and_goes_on_where_it_was(bench: Bench) -> None:
    [echo] = bench.send("hello").carries
    bench.restart()
    assert bench.restore() == "ok"
    assert bench.resumed()
    assert len(bench.answer(echo).carries) == 1


def test_steps_that_were_emitted_but_lost_mean_that_sending_keys_are_retired(bench: Bench) -> None:
    bench.send("kept")
    bench.send("lost", keep=False)
    bench.restart()
    assert bench.restore() == "ok"
    assert not bench.resumed()


def test_a_cold_start_retires_sending_keys(bench: Bench) -> None:
    bench.send("hello")
    bench.memory = bytearray(8 * ROW_SIZE)
    bench.restart()
    assert bench.restore() == "ok"
    assert not bench.resumed()


def test_a_ledger_older_than_what_was_committed_is_refused(bench: Bench) -> None:
    old = dict(bench.records)
    stepped = bench.send("hello")
    assert not bench.chamber.from_gateway(link.Committed(account="alice", step=stepped.step))
    bench.records = old
    bench.restart()
    assert bench.restore() == "rolled-back"


def test_a_commit_beyond_what_was_emitted_is_not_believed(bench: Bench) -> None:
    bench.chamber.from_gateway(link.Committed(account="alice", step=1 << 40))
    bench.restart()
    assert bench.restore() == "ok"


def test_a_record_that_was_removed_is_noticed(bench: Bench) -> None:
    bench.send("hello")
    for name in list(bench.records):
        kept = bench.records.pop(name)
        bench.restart()
        assert bench.restore(keep=False) in {"edited", "rolled-back"}
        bench.records[name] = kept


def test_a_single_record_put_back_in_an_older_version_is_noticed(bench: Bench) -> None:
    old = dict(bench.records)
    bench.send("hello")
    changed = [name for name in old if bench.records[name] != old[name]]
    assert len(changed) == 2  # the counting record and the root
    for name in changed:
        bench.records[name], kept = old[name], bench.records[name]
        bench.restart()
        assert bench.restore(keep=False) in {"edited", "rolled-back"}
        bench.records[name] = kept


def test_a_changed_record_does_not_open(bench: Bench) -> None:
    for name, record in list(bench.records.items()):
        for at in (0, 20, len(record.sealed) - 1):
            spoiled = bytearray(record.sealed)
            spoiled[at] ^= 1
            bench.records[name] = record.model_copy(update={"sealed": bytes(spoiled)})
            bench.restart()
            assert bench.restore(keep=False) == "unsealable"
        bench.records[name] = record


def test_records_of_another_account_or_key_do_not_open(bench: Bench) -> None:
    bench.key = bytes(32)
    bench.restart()
    assert bench.restore() == "unsealable"


def test_an_input_before_its_state_is_misuse() -> None:
    bench = Bench()
    with pytest.raises(Misuse):
        bench.send("hello")


def test_an_input_for_an_account_that_is_not_mapped_is_refused(bench: Bench) -> None:
    [stepped] = bench.chamber.from_gateway(
        link.Input(position=9, account="mallory", source="arrival", network="paper", name="text")
    )
    assert isinstance(stepped, Stepped)
    assert stepped.refused == "unknown-account"


def test_a_network_that_the_account_does_not_have_is_refused(bench: Bench) -> None:
    [stepped] = bench.chamber.from_gateway(
        link.Input(position=9, account="alice", source="arrival", network="matrix", name="text")
    )
    assert isinstance(stepped, Stepped)
    assert stepped.refused == "unknown-network"


def test_a_new_map_is_taken_and_accounts_that_left_it_are_put_out(bench: Bench) -> None:
    [stepped] = bench.chamber.remap([account_map("end-to-end")])
    bench.keep(stepped.remembers)
    [note] = bench.send("hello").carries
    assert note.values["code"] == Code(v="far-leg-too-weak")
    assert bench.chamber.remap([]) == []
    assert bench.send("hello").refused == "unknown-account"


def test_a_trust_decision_is_a_step_of_its_own(bench: Bench) -> None:
    decision = control.TrustDecision(nonce=1, account="alice", contact="echo", network="paper", decision="verify")
    code, [stepped] = bench.chamber.decide(decision)
    assert (code, stepped.position) == ("ok", 0)
    assert stepped.remembers
    assert bench.chamber.decide(decision.model_copy(update={"contact": "eve"})) == ("unknown-contact", [])


def test_a_verification_holds_only_for_the_session_whose_string_was_compared(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    leg = LegStatus("echo", "paper", Assurance.END_TO_END, "active", sas="abc12")
    monkeypatch.setattr(PaperInside, "status", lambda *_: [leg])
    decision = control.TrustDecision(nonce=1, account="alice", contact="echo", network="paper", decision="verify")
    assert bench.chamber.decide(decision) == ("other-session", [])
    assert bench.chamber.decide(decision.model_copy(update={"sas": "abc13"})) == ("other-session", [])
    assert bench.chamber.decide(decision.model_copy(update={"sas": "abc12"}))[0] == "ok"
    consenting = decision.model_copy(update={"decision": "verify-weak-string"})
    assert bench.chamber.decide(consenting) == ("other-session", [])


@pytest.mark.parametrize("bound", [True, False])
def test_the_status_tells_what_a_string_is_worth(bench: Bench, monkeypatch: pytest.MonkeyPatch, bound: bool) -> None:
    leg = LegStatus("echo", "paper", Assurance.END_TO_END, "active", sas="abc12", sas_bound=bound)
    monkeypatch.setattr(PaperInside, "status", lambda *_: [leg])
    found = [leg.sas_bound for leg in bench.chamber.status(1).legs if leg.network == "paper"]
    assert found == [bound]


def test_nothing_of_the_state_is_readable_in_sealed_records(bench: Bench) -> None:
    stepped = bench.send("a marker that must not be found")
    told = b"".join(record.sealed + record.name.encode() for record in bench.records.values())
    for word in (b"marker", b"paper", b"loopback", b"count", b"key"):
        assert word not in told
    assert b"marker" not in stepped.model_dump_json().encode()


def test_status_lists_legs_and_what_was_counted(bench: Bench) -> None:
    bench.send("raise")
    status = bench.chamber.status(7)
    assert status.nonce == 7
    assert {leg.network for leg in status.legs} == {"paper", "loopback"}
    assert [counter.code for counter in status.counters] == ["raised-lookup-error"]


def test_a_panic_of_a_library_is_a_refusal_like_any_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        """What a library in Rust raises."""

    def panic(*_: object) -> None:
        raise PanicException

    monkeypatch.setattr(PaperInside, "arrived", panic)
    assert bench.send("hello").refused == "raised-panic-exception"


# ---------------------------------------------------------------- a gateway that was taken over
def test_an_account_whose_sending_keys_could_not_be_retired_is_not_taken_in(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.send("kept")
    bench.send("lost", keep=False)
    bench.restart()

    def fail(*_: object, **__: object) -> None:
        raise LookupError

    with monkeypatch.context() as broken:
        broken.setattr(LoopbackInside, "started", fail)
        assert bench.restore() == "start-failed"
        with pytest.raises(Misuse):
            bench.send("under the old keys")
    assert bench.restore() == "ok"
    assert not bench.resumed()


def test_a_network_that_is_off_the_map_has_its_sending_keys_retired_with_the_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[bool] = []
    bench.send("makes a record of the loopback half")
    bench.memory = bytearray(8 * ROW_SIZE)
    bench.restart()
    mapped = account_map().model_copy(update={"contacts": ()})
    bench.chamber.remap([mapped])
    monkeypatch.setattr(LoopbackInside, "started", lambda _self, _step, *, resumed: started.append(resumed))
    assert bench.restore() == "ok"
    assert started == [False]


def test_a_state_that_was_handed_in_once_is_never_followed_by_an_older_one(bench: Bench) -> None:
    old = dict(bench.records)
    bench.send("hello")  # its commit is never told
    bench.restart()
    assert bench.restore() == "ok"
    bench.restart()
    bench.records = old
    assert bench.restore() == "rolled-back"


def test_putting_an_account_out_and_in_does_not_open_a_way_back(bench: Bench) -> None:
    old = dict(bench.records)
    bench.send("hello")
    bench.chamber.from_gateway(link.Evict(account="alice"))
    assert bench.restore() == "ok"
    bench.chamber.from_gateway(link.Evict(account="alice"))
    bench.records = old
    assert bench.restore() == "rolled-back"


def test_after_a_cold_start_nothing_older_than_what_was_handed_in_is_taken(bench: Bench) -> None:
    old = dict(bench.records)
    bench.send("hello")
    bench.memory = bytearray(8 * ROW_SIZE)
    bench.restart()
    assert bench.restore() == "ok"
    bench.restart()
    bench.records = old
    assert bench.restore() == "rolled-back"


def test_a_gateway_that_never_says_committed_is_not_given_more_than_a_window(bench: Bench) -> None:
    for _ in range(MAX_UNCOMMITTED):
        bench.send("hello")
    with pytest.raises(Misuse):
        bench.send("too many")


def test_a_gateway_that_says_committed_is_given_any_number_of_steps(bench: Bench) -> None:
    for _ in range(MAX_UNCOMMITTED + 10):
        stepped = bench.send("hello")
        bench.chamber.from_gateway(link.Committed(account="alice", step=stepped.step))


def test_state_for_an_account_that_is_not_mapped_is_not_gathered(bench: Bench) -> None:
    record = SealedRecord(name="x", version=1, sealed=b"x" * 1000)
    for number in range(20):
        bench.chamber.from_gateway(link.Restore(account=f"nobody{number}", records=(record,), last=False))
    assert bench.chamber.arriving == {}
    [restored] = bench.chamber.from_gateway(link.Restore(account="nobody1", records=(), last=True))
    assert restored == link.Restored(account="nobody1", code="unknown-account")


def test_too_much_state_keeps_its_account_out_and_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crypto.enclave.chamber.MAX_RESTORED", 10_000)
    bench.restart()
    empty = tuple(SealedRecord(name=f"x{n}", version=1, sealed=b"") for n in range(100))
    assert bench.chamber.from_gateway(link.Restore(account="alice", records=empty, last=False)) == []
    assert bench.chamber.arriving["alice"].records == []
    [restored] = bench.chamber.from_gateway(link.Restore(account="alice", records=empty, last=True))
    assert restored == link.Restored(account="alice", code="too-large")
    assert bench.restore() == "ok"


def test_a_step_whose_effects_do_not_fit_a_frame_is_refused_and_changes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(bench.records)

    def flood(_self: PaperInside, step: Step, _arrival: link.Input) -> None:
        step.records.put("count", Count(7, resumed=False))
        for _ in range(40):
            step.carry("letter", {"to": Address(v="x@y"), "body": Sealed(v=bytes(1 << 20))}, lane="l")

    with monkeypatch.context() as flooding:
        flooding.setattr(PaperInside, "arrived", flood)
        assert bench.send("hello").refused == "raised-step-too-large"
    assert bench.records == before
    assert bench.send("hello").refused is None


def test_what_a_step_may_have_fits_a_frame(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(_self: PaperInside, step: Step, _arrival: link.Input) -> None:
        for number in range(4):
            step.carry("letter", {"to": Address(v="x@y"), "body": Sealed(v=bytes(1 << 20))}, lane="l")
            step.records.put(f"big/{number}", Big(bytes(1 << 20)))
        for number in range(5_000):
            step.records.put(f"small/{number}", Big(b""))

    monkeypatch.setattr(PaperInside, "arrived", fill)
    stepped = bench.send("hello")
    assert stepped.refused is None
    assert FROM_ENCLAVE.encode(stepped)


def test_an_account_does_not_grow_beyond_what_could_be_taken_in_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crypto.enclave.account.MAX_STATE", 20_000)

    def grow(_self: PaperInside, step: Step, arrival: link.Input) -> None:
        if arrival.position % 100:
            step.records.put(f"big/{arrival.position}", Big(bytes(5_000)))
        else:
            for name in list(step.records.names("big/")):
                step.records.delete(name)

    monkeypatch.setattr(PaperInside, "arrived", grow)
    codes = [bench.send("hello").refused for _ in range(6)]
    assert codes[:3] == [None, None, None]
    assert codes[-1] == "raised-state-full"
    bench.position = 99
    assert bench.send("shrink").refused is None
    assert bench.send("hello").refused is None


def test_no_half_is_handed_anything_before_all_have_retired_their_keys(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    begin = PaperInside.started

    def failing(half: LoopbackInside, step: Step, *, resumed: bool) -> None:
        step.failed("echo", "m1", "room-not-encrypted")

    def begun(half: PaperInside, step: Step, *, resumed: bool) -> None:
        heard.append("started")
        begin(half, step, resumed=resumed)

    monkeypatch.setattr(LoopbackInside, "started", failing)
    monkeypatch.setattr(PaperInside, "started", begun)
    monkeypatch.setattr(PaperInside, "refused", lambda *_: heard.append("refused"))
    bench.send("kept")
    bench.memory = bytearray(8 * ROW_SIZE)  # a cold start: nothing vouches for the state
    bench.restart()
    assert bench.restore() == "ok"
    assert heard == ["started", "refused"]


@pytest.mark.parametrize(("require", "shown"), [("none", True), ("end-to-end", False)])
def test_a_signal_crosses_under_the_same_rule_as_messages(
    require: control.AssuranceName, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def typing(_self: PaperInside, step: Step, _arrival: link.Input) -> None:
        step.signal("echo", Typing(True))

    seen: list[tuple[str, Signal]] = []
    monkeypatch.setattr(PaperInside, "arrived", typing)
    monkeypatch.setattr(
        LoopbackInside, "signalled", lambda _half, _step, contact, told: seen.append((contact.id, told))
    )
    bench = Bench(require=require)
    bench.restore()
    assert bench.send("anything").refused is None
    assert seen == ([("echo", Typing(True))] if shown else [])
