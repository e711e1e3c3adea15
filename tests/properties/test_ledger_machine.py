"""The ledger against a model of it: whatever is done, and wherever the power fails, no transaction is half there."""

import asyncio
import contextlib
import copy
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridge.ledger.errors import StepRefused
from bridge.ledger.model import Finished, Held
from bridge.ledger.place import connect
from bridge.ledger.sqlite import SqliteLedger
from bridge.ledger.writes import REFUSED_WAKE_MS
from bridge.wire.link import Remember, Report, WakeAt
from tests.unit.ledger_parts import carry, stepped

ACCOUNTS = ("alice", "bob")
accounts = st.sampled_from(ACCOUNTS)
names = st.sampled_from(("a", "b", "c"))
bodies = st.binary(max_size=40) | st.integers(1, 3).map(lambda n: b"x" * (n * 5000))


@dataclass
class Model:
    """What the ledger ought to hold."""

    inbox: list[tuple[str, str, str | None, bytes, str]] = field(default_factory=list)
    """Account, source, key, body, name of what waits, in order."""
    parked: list[tuple[str, str | None, bytes, str, str]] = field(default_factory=list)
    """Account, refusal, body, source, name."""
    records: dict[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict)
    outbox: list[tuple[str, str]] = field(default_factory=list)
    timers: dict[tuple[str, str], int] = field(default_factory=dict)
    marks: dict[tuple[str, str], str] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)


def found_in(path: Path) -> Model:
    """The same, as it stands in a file."""
    db = connect(path, read_only=True)
    with contextlib.closing(db):

        def rows(query: str) -> list[Any]:
            return db.execute(query).fetchall()

        return Model(
            inbox=rows("SELECT account, source, key, body, name FROM inbox WHERE state = 'waiting' ORDER BY position"),
            parked=sorted(rows("SELECT account, refusal, body, source, name FROM inbox WHERE state = 'parked'")),
            records={(a, n): (v, s) for a, n, v, s in rows("SELECT account, name, version, sealed FROM state")},
            outbox=rows("SELECT account, key FROM outbox ORDER BY id"),
            timers={(a, n): t for a, n, t in rows("SELECT account, name, at_ms FROM timers")},
            marks={(a, n): v for a, n, v in rows("SELECT account, name, value FROM marks")},
            steps=dict(rows("SELECT account, step FROM steps")),
            counters=dict(rows("SELECT code, count FROM counters")),
        )


class LedgerMachine(RuleBasedStateMachine):
    """Every rule is one transaction; `history` holds what stood after each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-machine-"))
        self.runner = asyncio.Runner()
        self.path = self.folder / "0" / "ledger.db"
        self.lives = 0
        self.model = Model()
        self.history = [Model()]
        self.keys = 0
        self.held: list[Held] = []

    @initialize()
    def open(self) -> None:
        self.runner.run(self._open())

    async def _open(self) -> None:
        self.ledger = SqliteLedger(self.path, now_ms=lambda: 0)

    def done(self) -> None:
        self.history.append(copy.deepcopy(self.model))

    # -------------------------------------------------- what happens
    @rule(account=accounts, entries=st.lists(bodies, max_size=4), mark=st.none() | st.text("abc", max_size=3))
    def arrive(self, account: str, entries: list[bytes], mark: str | None) -> None:
        pair = None if mark is None else ("since", mark)
        self.runner.run(self.ledger.append_arrivals(account, "xmpp", [("e", b) for b in entries], mark=pair))
        self.model.inbox += [(account, "arrival", None, body, "e") for body in entries]
        if mark is not None:
            self.model.marks[account, "since"] = mark
        self.done()

    @rule(
        account=accounts,
        consume=st.booleans(),
        changes=st.dictionaries(names, st.none() | bodies, min_size=1, max_size=3),
        sends=st.integers(0, 3),
        timer=st.none() | st.tuples(names, st.integers(0, 100)),
        spoil=st.sampled_from(("", "", "", "position", "version", "step")),
    )
    def step(
        self,
        account: str,
        *,
        consume: bool,
        changes: dict[str, bytes | None],
        sends: int,
        timer: tuple[str, int] | None,
        spoil: str,
    ) -> None:
        waiting = self.ledger.read_inbox(account, 0, 1)
        position = waiting[0].position if consume and waiting else 0
        number = self.model.steps.get(account, 0) + 1
        spoil = "" if spoil == "step" and number == 1 else spoil  # there is no number before the first
        remembers = [Remember(name=name, version=number, sealed=sealed) for name, sealed in changes.items()]
        carries = tuple(carry(f"k{self.keys + n}") for n in range(sends))
        if spoil == "version":
            remembers += [Remember(name="z", version=1, sealed=b"")] * 2
        effects = stepped(
            position if spoil != "position" else 1 << 40,
            number - 1 if spoil == "step" else number,
            account=account,
            remembers=tuple(remembers),
            carries=carries,
            wakes=() if timer is None else (WakeAt(network="xmpp", name=timer[0], at_ms=timer[1]),),
            reports=(Report(code="stepped"),),
        )
        if spoil:
            with pytest.raises(StepRefused):
                self.runner.run(self.ledger.commit_steps([effects]))
            return
        applied = self.runner.run(self.ledger.commit_steps([effects]))
        self._apply(account, number, changes, timer, consumed=position != 0)
        self.keys += sends
        self.held += applied.released
        self.model.outbox += [(account, held.carry.key) for held in applied.released]
        self.done()

    def _apply(
        self,
        account: str,
        number: int,
        changes: dict[str, bytes | None],
        timer: tuple[str, int] | None,
        *,
        consumed: bool,
    ) -> None:
        if consumed:
            self.model.inbox.remove(next(entry for entry in self.model.inbox if entry[0] == account))
        for name, sealed in changes.items():
            if sealed is None:
                self.model.records.pop((account, name), None)
            else:
                self.model.records[account, name] = (number, sealed)
        if timer is not None:
            self.model.timers[account, timer[0]] = timer[1]
        self.model.steps[account] = number
        self.model.counters["stepped"] = self.model.counters.get("stepped", 0) + 1

    @rule(account=accounts)
    def refuse(self, account: str) -> None:
        waiting = self.ledger.read_inbox(account, 0, 1)
        if not waiting:
            return
        self.runner.run(self.ledger.commit_steps([stepped(waiting[0].position, 1, account=account, refused="odd")]))
        entry = next(entry for entry in self.model.inbox if entry[0] == account)
        self.model.inbox.remove(entry)
        if entry[1] == "wake":
            again = min(REFUSED_WAKE_MS, self.model.timers.get((account, entry[4]), REFUSED_WAKE_MS))
            self.model.timers[account, entry[4]] = again
            same = (account, "wake", entry[4])
            self.model.parked = [each for each in self.model.parked if (each[0], *each[3:]) != same]
        self.model.parked = sorted([*self.model.parked, (account, "odd", entry[3], entry[1], entry[4])])
        self.done()

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 5), code=st.sampled_from(("ok", "forbidden")))
    def finish(self, which: int, code: str) -> None:
        held = self.held.pop(which % len(self.held))
        for expected in (1, 0):  # the second time nothing happens
            assert self.runner.run(self.ledger.finish_carries([Finished(held, code, b"r")])) == expected
        self.model.outbox.remove((held.account, held.carry.key))
        self.model.inbox.append((held.account, "answer", held.carry.key, b"r", held.carry.request))
        self.done()

    @rule(now=st.integers(0, 100) | st.just(REFUSED_WAKE_MS))
    def time_passes(self, now: int) -> None:
        self.runner.run(self.ledger.fire_timers(now))
        due = sorted((at, *key) for key, at in self.model.timers.items() if at <= now)
        fired = found_in(self.path).inbox[len(self.model.inbox) :]
        assert sorted(fired) == sorted((account, "wake", None, b"", name) for _, account, name in due)
        self.model.inbox += fired
        for _, account, name in due:
            del self.model.timers[account, name]
        self.done()

    # -------------------------------------------------- crashes
    @rule()
    def killed(self) -> None:
        """The process ends at once; the files stay as they are."""
        self._reopen_copy(None)
        assert found_in(self.path) == self.history[-1]

    @rule(share=st.floats(0, 1))
    def power_fails(self, share: float) -> None:
        """The last writes to the log never reached the disk: what is found is what stood after some transaction."""
        self._reopen_copy(share)
        found = found_in(self.path)
        standing = [number for number, past in enumerate(self.history) if past == found]
        assert standing
        del self.history[standing[-1] + 1 :]
        self.model = copy.deepcopy(self.history[-1])
        self.held = [held for lane in self.ledger.lanes() for held in self.ledger.read_lane(lane, 0, 1000)]

    def _reopen_copy(self, keep: float | None) -> None:
        self.lives += 1
        fresh = self.folder / str(self.lives) / "ledger.db"
        fresh.parent.mkdir(mode=0o700)
        shutil.copy(self.path, fresh)
        log = self.path.with_name("ledger.db-wal")
        octets = log.read_bytes() if log.exists() else b""
        fresh.with_name("ledger.db-wal").write_bytes(octets if keep is None else octets[: int(len(octets) * keep)])
        self.runner.run(self.ledger.close())
        self.path = fresh
        self.runner.run(self._open())

    @invariant()
    def holds_what_it_ought_to(self) -> None:
        if not hasattr(self, "ledger"):
            return
        assert found_in(self.path) == self.model
        assert self.ledger.waiting == len(self.model.inbox)

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.runner.run(self.ledger.close())
        self.runner.close()
        shutil.rmtree(self.folder)


LedgerMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLedgerMachine = LedgerMachine.TestCase
