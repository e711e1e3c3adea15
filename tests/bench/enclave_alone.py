"""(a) Messages through the enclave alone, both directions; negotiation; memory by session."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from bridge.wire import control
from bridge.wire.link import Input, Stepped
from crypto.primitives.modp import GROUPS, power
from tests.bench.enclave_process import EnclaveProcess, cpu_seconds, resident_octets
from tests.bench.ends import ALICE_JID, AliceEnd, Ends, body_text, draw
from tests.unit.matrix_world import ALICE, BOB

AT_ONCE = 32
WINDOW = 64
"""Messages that a client may have unacknowledged."""


def account_map(name: str = "alice", slot: int = 0, jid: str = ALICE_JID) -> control.AccountMap:
    """One account with one contact on Matrix."""
    return control.AccountMap(
        id=name,
        slot=slot,
        near_network="xmpp",
        near_address=jid,
        far_addresses=(control.FarAddress(network="matrix", address=ALICE),),
        contacts=(
            control.ContactMap(id="bob", network="matrix", address=BOB, alias="bob@gate.example", require="end-to-end"),
        ),
    )


@dataclass
class Rate:
    """How fast and how dear."""

    messages: int
    wall_s: float
    cpu_s: float

    def told(self) -> dict[str, float]:
        """For the table."""
        return {
            **asdict(self),
            "messages_per_s": self.messages / self.wall_s,
            "messages_per_cpu_s": self.messages / self.cpu_s,
            "cpu_ms_per_message": 1000 * self.cpu_s / self.messages,
        }


class Pump:
    """Moves entries into the enclave and requests to the ends until neither has any."""

    def __init__(self, enclave: EnclaveProcess, ends: Ends) -> None:
        self.enclave = enclave
        self.ends = ends
        self.position = 1
        self.inside_s = 0.0
        """Wall time during which the enclave had work; the bench's own work is not in it."""

    def carry(self, step: Stepped) -> None:
        """Carry a step's requests out."""
        for request in step.carries:
            self.ends.carry_out(request)

    def settle(self) -> None:
        """Until nothing is left."""
        while self.ends.queue:
            inputs = self.ends.inputs(AT_ONCE, self.position)
            self.position += len(inputs)
            began = time.perf_counter()
            steps = self.enclave.ask(inputs)
            self.inside_s += time.perf_counter() - began
            for step in steps:
                self.carry(step)

    def measured(self, messages: int, act: Callable[[], None]) -> Rate:
        """The enclave's time for what `act` queues."""
        wall, cpu = self.inside_s, cpu_seconds(self.enclave.pid)
        act()
        self.settle()
        return Rate(messages, self.inside_s - wall, cpu_seconds(self.enclave.pid) - cpu)


def started(enclave: EnclaveProcess, *, pump: Pump | None = None) -> Pump:
    """An enclave with one account whose session with Alice is active and whose room with Bob is ready."""
    pump = pump or Pump(enclave, Ends())
    ends = pump.ends
    pump.carry(enclave.restore("alice"))
    pump.settle()
    for stanza in ends.alice.start():
        ends.stanza(stanza)
    pump.settle()
    assert ends.alice.active
    ends.stanza(ends.alice.says("first"))
    pump.settle()
    ends.bob_says("first")
    pump.settle()
    assert ends.bob.texts()[-1:] == ["first"]
    assert ends.alice.opened == ["first"]
    return pump


def to_matrix(pump: Pump, count: int) -> Rate:
    """Alice's messages: opened, encrypted again, acknowledged."""
    ends = pump.ends
    before = ends.sent_to_room, ends.alice.receipts
    stanzas = [ends.alice.says(body_text(n)) for n in range(count)]

    def write() -> None:
        for first in range(0, count, WINDOW):
            for stanza in stanzas[first : first + WINDOW]:
                ends.stanza(stanza)
            pump.settle()

    rate = pump.measured(count, write)
    assert (ends.sent_to_room, ends.alice.receipts) == (before[0] + count, before[1] + count)
    return rate


def to_xmpp(pump: Pump, count: int) -> Rate:
    """Bob's messages: opened, encrypted again, acknowledged by Alice's client."""
    ends = pump.ends
    before = len(ends.alice.opened)
    held, ends.queue = ends.queue, type(ends.queue)()
    for number in range(count):
        ends.bob_says(body_text(number))
    entries, ends.queue = ends.queue, held
    rate = pump.measured(count, lambda: ends.queue.extend(entries))
    assert len(ends.alice.opened) == before + count
    assert ends.alice.opened[-1] == body_text(count - 1)
    return rate


def exponentiation_s(times: int = 40) -> float:
    """One exponentiation as the negotiation needs it: group 14, an exponent of 256 bits."""
    exponents = [int.from_bytes(draw("x", 32), "big") | 1 << 255 for _ in range(times)]
    began = time.process_time()
    for exponent in exponents:
        power(2, exponent, GROUPS[14].prime)
    return (time.process_time() - began) / times


def negotiation(times: int) -> dict[str, float]:
    """CPU of the enclave for one negotiation as the responder, against its raw exponentiations (two).

    Every one for another account: there is a limit on how many one user may start.
    """
    maps = [account_map(f"a{n}", n, f"a{n}@xmpp.example") for n in range(times)]
    with EnclaveProcess(maps) as enclave:
        for number in range(times):
            enclave.restore(f"a{number}")
        spent = 0.0
        for number in range(times):
            cpu = cpu_seconds(enclave.pid)
            _one_session(enclave, number)
            spent += (cpu_seconds(enclave.pid) - cpu) / times
    raw = 2 * exponentiation_s()
    return {"cpu_ms": 1000 * spent, "raw_exponentiations_ms": 1000 * raw, "ratio": spent / raw}


def memory(counts: tuple[int, ...]) -> dict[str, float]:
    """Private memory of an enclave with so many accounts, each with one idle session."""
    maps = [account_map(f"a{n}", n, f"a{n}@xmpp.example") for n in range(max(counts))]
    found: dict[str, float] = {}
    with EnclaveProcess(maps) as enclave:
        first = 0
        base = 0
        for count in counts:
            for number in range(first, count):
                enclave.restore(f"a{number}")
                _one_session(enclave, number)
            first = count
            now = resident_octets(enclave.pid)
            base = base or now
            found[f"octets_at_{count}"] = now
            if count > counts[0]:
                found[f"octets_per_session_at_{count}"] = (now - base) / (count - counts[0])
    return found


def _one_session(enclave: EnclaveProcess, number: int) -> None:
    name = f"a{number}"
    alice = AliceEnd("bench", bare=f"{name}@xmpp.example")
    waiting = alice.start()
    position = 1
    while waiting:
        entry = {"account": name, "source": "arrival", "network": "xmpp", "name": "stanza"}
        inputs = [control_input(entry, position + n, stanza) for n, stanza in enumerate(waiting)]
        position += len(inputs)
        waiting = []
        for step in enclave.ask(inputs):
            for request in step.carries:
                payload = request.values.get("form") or request.values.get("content")
                if request.network == "xmpp" and payload is not None:
                    waiting += alice.hears(payload.v)  # type: ignore[arg-type]
    assert alice.active


def control_input(entry: dict[str, str], position: int, body: bytes) -> Input:
    """One entry of the inbox."""
    return Input.model_validate({**entry, "position": position, "body": body})
