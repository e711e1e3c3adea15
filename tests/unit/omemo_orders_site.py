"""The enclave's chamber, OMEMO devices of Alice's in chat with the gateway itself; her server, which takes files."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from adapters.inside_api import Step
from adapters.xmpp.inside_omemo_own import store_in
from adapters.xmpp.inside_stanzas import read_content, read_stanza
from adapters.xmpp.names import ERROR, NOTICE, OMEMO, STANZA, jid_of
from adapters.xmpp.outside_stanzas import rendered
from adapters.xmpp.pep.names import FETCH, PEP_ITEMS, PEP_REQUESTS
from bridge.wire import control, link
from bridge.wire.files import FILE_PART, FILE_REQUESTS, FILE_UPLOAD
from bridge.wire.values import GATEWAY_CONTACT, Address, Code, Number, Opaque, Sealed
from crypto.files.addresses import sole_address
from crypto.files.streams import opener
from crypto.omemo import conversation, device
from crypto.omemo.elements import is_encrypted, message_element, read_message
from crypto.omemo.faults import OmemoError
from crypto.omemo.model import Bundle, Message, Peer, Recipient
from crypto.omemo.names import Namespace
from crypto.xml import CLIENT, serialize
from tests.unit.control_site import GATE, Desk, mapped
from tests.unit.omemo_desk import Nodes
from tests.unit.omemo_world import End
from tests.unit.xmpp_site import ALICE

T = TypeVar("T")
OLD = Namespace.AXOLOTL
ON = (control.Option(name="omemo", value="on"),)


@dataclass
class Writer:
    """One of Alice's devices, or one that says so."""

    end: End
    shown: list[str] = field(default_factory=list)


class OmemoChat(Desk):
    """`uploads`: whether her server takes files; `stored`: what it took, by name."""

    def __init__(self, *writers: End, uploads: bool = True) -> None:
        self.nodes = Nodes()
        self.writers: list[Writer] = []
        self.uploads, self.stored = uploads, dict[str, bytes]()
        self.told: list[str] = []
        self.errors: list[str] = []
        self._spool: dict[str, bytes] = {}
        super().__init__()
        self.joined(*writers)
        for stepped in self.chamber.remap((mapped().model_copy(update={"options": ON}),)):
            self.take(stepped)
        self.run()

    def joined(self, *writers: End) -> None:
        """More devices, in Alice's list from now on."""
        self.writers += [Writer(end) for end in writers]
        self.nodes.announce(*(each.end for each in self.writers))

    def inside(self, act: Callable[[Step], T]) -> T:
        """Look into the records of the XMPP half."""
        found: list[T] = []
        assert self.account.order("xmpp", lambda step: found.append(act(step))).refused is None
        return found[0]

    @property
    def bundle(self) -> tuple[int, Bundle]:
        """The gateway's own device, as it is published."""

        def read(step: Step) -> tuple[int, Bundle]:
            store = store_in(step.records, GATEWAY_CONTACT)
            own = device.own(store)
            assert own is not None
            return own.device_id, device.public_bundle(store, OLD)

        return self.inside(read)

    # ---------------------------------------------------------------- writing
    def sealed(self, end: End, text: str) -> bytes:
        """A device's message to the gateway, as it stands in a stanza."""
        id_, bundle = self.bundle
        peer = Peer(OLD, GATE, id_)
        missing = conversation.missing_sessions(end.shelf, (peer,))
        recipient = Recipient(peer, bundle if missing else None)
        made = conversation.encrypted(end.shelf, end.dice, {OLD: text.encode()}, (recipient,))
        return serialize(message_element(read_message(made.elements[OLD])))

    def stanza(self, content: bytes, id_: str = "") -> None:
        """Something comes from her."""
        id_ = id_ or f"o-{self.position}"
        head = f"<message xmlns='{CLIENT}' from='{ALICE}/any' to='{GATE}' type='chat' id='{id_}'>"
        self.arrive(STANZA, head.encode() + content + b"</message>")
        self.run()

    def writes(self, end: End, text: str) -> str:
        """A device writes to the gateway; what it is shown then."""
        writer = next((each for each in self.writers if each.end is end), Writer(end))
        before = len(writer.shown)
        self.stanza(self.sealed(end, text))
        return "\n".join(writer.shown[before:])

    def verified(self, end: End, decision: str = "verify") -> None:
        """The operator compared its fingerprint."""
        where = {"nonce": 1, "account": "alice", "contact": "bob", "network": "xmpp", "decision": decision}
        code, steps = self.chamber.decide(
            control.TrustDecision.model_validate({**where, "device_key": end.identity.hex()})
        )
        assert code == "ok"
        for step in steps:
            self.take(step)
        self.run()

    @property
    def known(self) -> list[control.UserDevice]:
        """The user's devices, as the status tells of them."""
        told = (leg.device for leg in self.chamber.status(1).legs if leg.device is not None)
        return [each for contacts in told for each in contacts.devices]

    @property
    def states(self) -> dict[int, str]:
        """How they stand, by number."""
        return {each.id: each.state for each in self.known}

    # ---------------------------------------------------------------- her server
    def run(self) -> None:
        """See Desk. Until nothing moves."""
        for _ in range(100):
            carried, self._carried = self._carried, []
            if not carried:
                return
            for one in carried:
                self._carry(one)
        raise AssertionError("stanzas go round in circles")

    def _carry(self, one: link.Carry) -> None:
        if one.request == FETCH:
            self._fetched(one)
        elif one.request == OMEMO:
            self._deliver(one)
            self._answer(one, b"")
        elif one.request == FILE_PART:
            transfer, content = one.values["transfer"], one.values["content"]
            assert isinstance(transfer, Opaque)
            assert isinstance(content, Sealed)
            self._spool[transfer.v] = self._spool.get(transfer.v, b"") + content.v
        elif one.request == FILE_UPLOAD:
            self._uploaded(one)
        elif one.request == NOTICE:
            code = one.values["code"]
            assert isinstance(code, Code)
            self.told.append(code.v)
        elif one.request == ERROR:
            code = one.values["code"]
            assert isinstance(code, Code)
            self.errors.append(code.v)
        elif one.request not in (*PEP_REQUESTS, *FILE_REQUESTS):
            self._deliver(one)

    def _fetched(self, one: link.Carry) -> None:
        sender, node = one.values["from"], one.values["node"]
        number, item = one.values.get("number"), one.values.get("item")
        assert isinstance(sender, Address)
        assert isinstance(node, Code)
        about = number.v if isinstance(number, Number) else int(item.v) if isinstance(item, Opaque) else None
        self.arrive(PEP_ITEMS, self.nodes.answer(jid_of(sender), node.v, about).encode())

    def _uploaded(self, one: link.Carry) -> None:
        transfer = one.values["transfer"]
        assert isinstance(transfer, Opaque)
        if not self.uploads:
            self._answer(one, b"", "upload-no-service")
            return
        url = f"https://up.example/{transfer.v}.png"
        self.stored[url] = self._spool[transfer.v]
        self._answer(one, json.dumps({"url": url}).encode())

    def _answer(self, one: link.Carry, body: bytes, code: str = "ok") -> None:
        self.position += 1
        entry = link.Input(
            position=self.position,
            account="alice",
            source="answer",
            network="xmpp",
            name=one.request,
            key=one.key,
            code=code,
            body=body,
        )
        for stepped in self.chamber.from_gateway(entry):
            assert isinstance(stepped, link.Stepped)
            self.take(stepped)
            self.chamber.from_gateway(link.Committed(account="alice", step=stepped.step))

    def _deliver(self, one: link.Carry) -> None:
        stanza = read_stanza(rendered(one.request, one.values))
        if stanza.name != "message":
            return
        if read_content(stanza.elements).body and one.request != OMEMO:
            self.told.append(read_content(stanza.elements).body or "")
        for part in (each for each in stanza.elements if is_encrypted(each) is OLD):
            message = read_message(part)
            for writer in self.writers:
                self._heard(writer, message, stanza.attribute("from") or "")

    def _heard(self, writer: Writer, message: Message, sender: str) -> None:
        try:
            opened = writer.end.hears(message, sender.partition("/")[0])
        except OmemoError:
            return
        if opened.plaintext:
            writer.shown.append(opened.plaintext.decode())

    def fetched(self, body: str) -> bytes:
        """The file that an `aesgcm:` address names, opened."""
        address = sole_address(body)
        assert address is not None
        opening = opener(address.lock)
        return opening.opened(self.stored[address.url]) + opening.finished()
