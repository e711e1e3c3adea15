"""The enclave's chamber with its three halves, and Alice's client in a session with the gateway itself."""

from dataclasses import dataclass
from typing import Literal

from adapters.control.inside import ControlInside
from adapters.inside_api import InsideHalf, Step
from adapters.matrix.inside import MatrixInside
from adapters.matrix.inside_talks import Talk
from adapters.xmpp.inside import XmppInside
from adapters.xmpp.names import PRESENCE, STANZA, Resources, jid_of
from adapters.xmpp.outside_stanzas import rendered
from bridge.wire import control, link
from bridge.wire.values import CONTROL, GATEWAY_CONTACT, Address
from crypto.enclave.account import Account
from crypto.enclave.chamber import Chamber
from crypto.enclave.register import ROW_SIZE, Register
from crypto.esession.conversation import send
from crypto.olm.sas import Ends, Party, Sas
from crypto.olm.verification_states import Cancelled, Comparing, Finished, Flow
from crypto.xml import Element
from tests.unit.test_chamber import KEY, FakeHost
from tests.unit.xmpp_site import ALICE, Alice

GATE = "gate.example"
USER, BOB = "@alice:one.example", "@bob:two.example"
SAS = Sas((0, 34, 36, 53, 63, 1, 2), (1234, 5678, 9012))


@dataclass
class Host(FakeHost):
    """Time passes when told."""

    passed_ms: int = 0

    def now_ms(self) -> int:
        """See FakeHost."""
        return super().now_ms() + self.passed_ms


class Client(Alice):
    """Writes to the gateway itself."""

    def write(self, payload: bytes, *, kind: str | None, thread: str | None, id_: str, to: str = GATE) -> None:
        """See Alice."""
        super().write(payload, kind=kind, thread=thread, id_=id_, to=to)


def mapped() -> control.AccountMap:
    """Alice, with Bob on Matrix and the gateway itself."""
    bob = control.ContactMap(id="bob", network="matrix", address=BOB, alias="bob@gate.example", require="end-to-end")
    itself = control.ContactMap(id=GATEWAY_CONTACT, network=CONTROL, address=GATE, alias=GATE, require="end-to-end")
    return control.AccountMap(
        id="alice",
        slot=1,
        near_network="xmpp",
        near_address=ALICE,
        far_addresses=(control.FarAddress(network="matrix", address=USER),),
        contacts=(bob, itself),
    )


class Desk:
    """`run` carries stanzas both ways until nothing moves."""

    def __init__(self) -> None:
        halves: dict[str, InsideHalf] = {"xmpp": XmppInside(), "matrix": MatrixInside(), CONTROL: ControlInside()}
        self.host = Host()
        self.chamber = Chamber(halves, self.host, Register(bytearray(8 * ROW_SIZE)), KEY, {"alice": mapped()})
        self.chamber.from_gateway(link.Restore(account="alice", records=(), last=True))
        self.alice = Client()
        self.position = 0
        self.refused: list[str] = []
        self.far: list[link.Carry] = []
        """What went to the Matrix side."""
        self._pending: list[bytes] = []
        self._carried: list[link.Carry] = []

    @property
    def account(self) -> Account:
        """In the enclave."""
        return self.chamber.accounts["alice"]

    def arrive(self, name: str, body: bytes, source: Literal["arrival", "wake"] = "arrival") -> None:
        """Something came from the XMPP server."""
        self.position += 1
        entry = link.Input(position=self.position, account="alice", source=source, network="xmpp", name=name, body=body)
        for stepped in self.chamber.from_gateway(entry):
            assert isinstance(stepped, link.Stepped)
            self.take(stepped)
            self.chamber.from_gateway(link.Committed(account="alice", step=stepped.step))

    def wait(self, seconds: int) -> None:
        """Time passes, and the half is woken."""
        self.host.passed_ms += 1000 * seconds
        self.arrive("tick", b"", "wake")
        self.run()

    def take(self, stepped: link.Stepped) -> None:
        """The effects of a step."""
        assert stepped.refused is None, stepped.refused
        self.far += [carry for carry in stepped.carries if carry.network == "matrix"]
        self._carried += [carry for carry in stepped.carries if carry.network == "xmpp"]

    def run(self) -> None:
        """Until nothing moves."""
        for _ in range(100):
            carried, self._carried = self._carried, []
            written, self.alice.outbox = self.alice.outbox, []
            if not carried and not written:
                return
            for carry in carried:
                to = carry.values["to"]
                assert isinstance(to, Address)
                if jid_of(to) in (self.alice.jid, ALICE):
                    self.alice.hear(rendered(carry.request, carry.values))
            for octets in written:
                self.arrive(STANZA, octets)
        raise AssertionError("stanzas go round in circles")

    def established(self, *, verified: bool = True) -> "Desk":
        """With a session; `verified`: the operator compared its string."""
        self.arrive(PRESENCE, Resources(((self.alice.jid, True),), complete=True).encode())
        self.alice.start()
        self.run()
        if verified:
            assert self.verify_session() == "ok"
        return self

    def verify_session(self) -> str:
        """The operator says that Alice sees the same string."""
        conversation = self.alice.conversations[self.alice.current or ""]
        assert conversation.session is not None
        told = control.TrustDecision(
            nonce=1,
            account="alice",
            contact=GATEWAY_CONTACT,
            network="xmpp",
            decision="verify",
            sas=conversation.session.sas,
        )
        code, steps = self.chamber.decide(told)
        for step in steps:
            self.take(step)
        return code

    def says(self, text: str) -> str:
        """Alice writes an order; the answers to it."""
        before = len(self.alice.shown)
        self.alice.say(text, f"a-{self.position}-{len(self.alice.shown)}")
        self.run()
        return "\n".join(self.alice.shown[before:])

    def says_plainly(self, text: str) -> list[str]:
        """The same without encryption; the sentences that came back in plain."""
        self.alice.notices.clear()
        self.alice.write(f"<body>{text}</body>".encode(), kind="chat", thread=None, id_=f"p-{self.position}")
        self.run()
        return self.alice.notices

    def asks(self, question: str, kind: str = "set") -> tuple[str, Element]:
        """Alice's client asks by iq inside the session: type of the answer, and what is in it."""
        self.alice.within.clear()
        current = self.alice.current or ""
        outcome = send(self.alice.conversations[current], question.encode())
        assert outcome.conversation is not None
        self.alice.conversations[current] = outcome.conversation
        head = f"<iq from='{self.alice.jid}' to='{GATE}/lockgate' type='{kind}' id='q{self.position}'>".encode()
        self.alice.outbox.append(head + outcome.replies[0].payload + b"</iq>")
        self.run()
        ((_, answer, content),) = self.alice.within
        assert content
        return answer, content[0]

    # ---------------------------------------------------------------- the Matrix side
    def comparing(self, sas: Sas = SAS) -> None:
        """A verification of Bob stands where both compare."""
        ends = Ends("t", Party(USER, "A", "K" * 43, ""), Party(BOB, "B", "L" * 43, "M" * 43))
        state = Comparing(Flow(ends, in_room=False), ("emoji", "decimal"), sas, bytes(32))

        def order(step: Step) -> None:
            step.records.put(f"verifying/{BOB}", Talk("comparing", "t", "", step.now_ms()))
            step.records.put(f"verifying-state/{BOB}", state)

        assert self.account.order("matrix", order).refused is None

    def goes_on(self, state: Cancelled | Finished | None = None) -> None:
        """Something comes of it, by what Bob's client sends."""

        def order(step: Step) -> None:
            if state is not None:
                step.records.put(f"verifying/{BOB}", Talk(type(state).__name__.lower(), "t", "", step.now_ms()))
                step.records.put(f"verifying-state/{BOB}", state)
            step.moved("bob")

        self.take(self.account.order("matrix", order))
        self.run()

    def verification(self) -> tuple[Talk | None, str]:
        """How it stands, and who said what."""
        found: list[Talk | None] = []
        self.account.order("matrix", lambda step: found.append(step.records.get(f"verifying/{BOB}", Talk)))
        return found[0], found[0].state if found[0] is not None else "none"

    def state(self) -> str:
        """The name of its state."""
        return self.verification()[1]
