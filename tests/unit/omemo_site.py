"""The inside half with a contact that is an OMEMO device, and the user's devices, which are python-omemo."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from omemo.backend import DecryptionFailed, KeyExchangeFailed
from omemo.session_manager import MessageNotForUs

from adapters.inside_api import AccountPolicy
from adapters.xmpp.inside_stanzas import read_content, read_stanza
from adapters.xmpp.names import NS_RECEIPTS, jid_of
from adapters.xmpp.outside_stanzas import rendered
from adapters.xmpp.pep.names import FETCH, NODES, PEP_ITEMS, PUBLISH, RETRACT, Items, node_of
from bridge.wire.values import Address, Code, Number, Opaque, Public
from crypto.message import Assurance
from crypto.omemo.elements import is_encrypted, message_element
from crypto.omemo.envelope import opened_envelope, sealed_envelope
from crypto.omemo.names import DEVICES_NODE, Namespace
from crypto.xml import CLIENT, Element, element, parse, serialize
from tests.unit.fake_step import Carried
from tests.unit.omemo_peer import Nodes, Peer
from tests.unit.omemo_world import Dice
from tests.unit.xmpp_site import ALICE, BOB, Site, contact

T = TypeVar("T")
AXOLOTL, OMEMO_2 = (Namespace.AXOLOTL,), (Namespace.OMEMO_2,)
BOTH = tuple(Namespace)


@dataclass
class Device:
    """One of the user's clients: it speaks OMEMO and nothing else."""

    peer: Peer
    forms: tuple[Namespace, ...]
    jid: str
    do: Callable[[Coroutine[Any, Any, Any]], Any]
    receipts: bool = True
    ready: bool = False
    """Whether it has looked for Bob's devices."""
    named: str = ALICE
    """Whom it names as the sender inside envelopes."""
    shown: list[str] = field(default_factory=list)
    """Texts that it decrypted, in order."""
    ids: list[str] = field(default_factory=list)
    contents: list[tuple[Element, ...]] = field(default_factory=list)
    """What was inside beside the text."""
    signs: list[tuple[Element, ...]] = field(default_factory=list)
    """What was inside envelopes without a text."""
    repeats: int = 0
    undecryptable: int = 0
    not_for_us: int = 0
    empties: int = 0
    ignores_empties: bool = False
    """Profanity 0.13 does not look at messages without a payload."""
    plain: list[str] = field(default_factory=list)
    """Texts that came unencrypted: notices."""
    errors: list[tuple[str | None, str]] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    outbox: list[bytes] = field(default_factory=list)
    _dice: Dice = field(default_factory=lambda: Dice("alice"))

    def say(self, text: str, id_: str, *, beside: bytes = b"", within: tuple[Element, ...] = ()) -> bytes:
        """Write to Bob, asking for a receipt; what goes out."""
        inside = sealed_envelope(
            (element(CLIENT, "body", text), element(NS_RECEIPTS, "request"), *within), self._dice, sender=self.named
        )
        content = {Namespace.OMEMO_2: inside, Namespace.AXOLOTL: text.encode()}
        if not self.ready:
            for form in self.forms:
                self.do(self.peer.manager.refresh_device_list(form, BOB))
            self.ready = True
        made = self.do(self.peer.encrypt(BOB, {form: content[form] for form in self.forms}))
        parts = b"".join(serialize(message_element(message)) for message in made.values())
        request = serialize(element(NS_RECEIPTS, "request"))
        fallback = b"<body>no OMEMO here</body><store xmlns='urn:xmpp:hints'/>"
        stanza = self._stanza(parts + fallback + request + beside, id_)
        self.outbox.append(stanza)
        return stanza

    def _stanza(self, content: bytes, id_: str) -> bytes:
        head = f"<message xmlns='{CLIENT}' from='{self.jid}' to='{BOB}' type='chat' id='{id_}'>"
        return head.encode() + content + b"</message>"

    def hear(self, octets: bytes) -> None:
        """A stanza arrives."""
        stanza = read_stanza(octets)
        error = stanza.child(CLIENT, "error")
        if error is not None:
            self.errors.append((stanza.attribute("id"), error.elements[0].name))
            return
        parts = {is_encrypted(e): e for e in stanza.elements if is_encrypted(e) in self.forms}
        if self.ignores_empties:
            parts = {form: e for form, e in parts.items() if b"<payload" in serialize(e)}
        for form in self.forms:
            if form in parts and self._decrypt(parts[form], stanza):
                return
        outside = read_content(stanza.elements)
        if parts:
            self.not_for_us += 1
        elif outside.received:
            self.acknowledged += outside.received
        elif outside.body:
            self.plain.append(outside.body)

    def _decrypt(self, part: Element, stanza: Element) -> bool:
        try:
            plaintext = self.do(self.peer.decrypt(part, BOB))
        except MessageNotForUs:
            return False
        except (DecryptionFailed, KeyExchangeFailed) as fault:
            if "uplicate" in repr(fault.__cause__) or stanza.attribute("id") in self.ids:
                self.repeats += 1
            else:
                self.undecryptable += 1
            return True
        self._send_empties()
        if plaintext is None:
            self.empties += 1
            return True
        id_ = stanza.attribute("id") or ""
        if part.namespace == Namespace.AXOLOTL:
            self._show(plaintext.decode(), id_, wanted=read_content(stanza.elements).receipt_wanted)
            return True
        inside = opened_envelope(plaintext, sender=BOB, recipient=ALICE).content
        content = read_content(inside)
        self.acknowledged += content.received
        if not content.body and content.extras:
            self.signs.append(content.extras)
        if content.body:
            self.contents.append(content.extras)
            self._show(content.body, id_, wanted=content.receipt_wanted)
        return True

    def _show(self, text: str, id_: str, *, wanted: bool) -> None:
        self.shown.append(text)
        self.ids.append(id_)
        if wanted and self.receipts:
            receipt = serialize(element(NS_RECEIPTS, "received", id=id_))
            self.outbox.append(self._stanza(receipt, f"r-{len(self.ids)}-{self.peer.device_id}"))

    def _send_empties(self) -> None:
        for _, part in self.peer.sent:
            self.outbox.append(self._stanza(serialize(part), f"e-{self._dice('empty', 4).hex()}"))
        self.peer.sent.clear()


class OmemoSite(Site):
    """Bob is an OMEMO device; `nodes` is what the servers hold. `forms`: what each of Alice's devices speaks."""

    def __init__(
        self,
        *forms: tuple[Namespace, ...],
        require: Assurance = Assurance.END_TO_END,
        options: dict[str, str] | None = None,
    ) -> None:
        super().__init__(require)
        self._loop = asyncio.new_event_loop()
        self.nodes = Nodes()
        self.forbidden = False
        self.silent = False
        self.unheard: Callable[[], bool] = lambda: False
        """Whether a message is lost between the server, which took it, and her."""
        self.bob = replace(contact(require), options={"omemo": "on", **(options or {})})
        self.step.account = AccountPolicy("alice", "xmpp", ALICE, {"matrix": "@alice:example.org"}, (self.bob,))
        self.devices: list[Device] = []
        for each in forms:
            self.add(each)
        self.start(resumed=True)
        self.run()

    def add(self, forms: tuple[Namespace, ...]) -> Device:
        """A new device of Alice's. Devices of hers are in one list of each form."""
        peer = self.await_(Peer.make(self.nodes, ALICE, forms))
        device = Device(peer, forms, f"{ALICE}/phone{len(self.devices)}", self.await_)
        self.devices.append(device)
        return device

    def await_(self, what: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of python-omemo."""
        return self._loop.run_until_complete(what)

    def close(self) -> None:
        """The clients end."""
        for device in self.devices:
            self.await_(device.peer.manager.shutdown())
        self._loop.close()

    def _written(self) -> list[bytes]:
        written = [octets for device in self.devices for octets in device.outbox]
        for device in self.devices:
            device.outbox = []
        return [*super()._written(), *written]

    def answer(self, carried: Carried, code: str = "ok") -> None:
        """The server has it."""
        given = self.step.input("answer", carried.request, network="xmpp", key=carried.key, code=code)
        self.do(lambda: self.half.answered(self.step, given))

    def _to_alice(self, one: Carried) -> None:
        if one.request == PUBLISH:
            self._published(one)
        elif one.request == FETCH:
            self._fetched(one)
        elif one.request == RETRACT:
            pass
        else:
            if one.request != "omemo" or not self.unheard():
                self.deliver(one)
            if one.request == "omemo":
                self.answer(one)

    def deliver_again(self, request: str) -> None:
        """The last request of that name reaches the server now."""
        self._to_alice(self.sent(request)[-1])

    def deliver(self, one: Carried) -> None:
        """To whom it is for: all devices when it is for the account."""
        octets = rendered(one.request, one.values)
        to = one.values["to"]
        assert isinstance(to, Address)
        jid = jid_of(to)
        for client in (self.alice, *self.others):
            if jid == client.jid:
                client.hear(octets)
        for device in self.devices:
            if jid in (device.jid, ALICE):
                device.hear(octets)

    def _published(self, one: Carried) -> None:
        node, item, content = one.values["node"], one.values["item"], one.values["content"]
        assert isinstance(node, Code)
        assert isinstance(item, Opaque)
        assert isinstance(content, Public)
        number = one.values.get("number")
        name = node_of(node.v, number.v if isinstance(number, Number) else None)
        for form in Namespace:
            if name == DEVICES_NODE[form]:
                self.nodes.lists[form, BOB] = parse(content.v)
        if name == "urn:xmpp:omemo:2:bundles":
            self.nodes.bundles[Namespace.OMEMO_2, BOB, int(item.v)] = parse(content.v)
        elif name is not None and name.startswith("eu.siacs.conversations.axolotl.bundles:"):
            self.nodes.bundles[Namespace.AXOLOTL, BOB, int(name.rpartition(":")[2])] = parse(content.v)

    def _fetched(self, one: Carried) -> None:
        if self.silent:
            return
        node, sender = one.values["node"], one.values["from"]
        assert isinstance(node, Code)
        assert isinstance(sender, Address)
        item, number = one.values.get("item"), one.values.get("number")
        found: Element | None = None
        asked = number.v if isinstance(number, Number) else int(item.v) if isinstance(item, Opaque) else None
        for form in Namespace:
            if NODES[node.v] == DEVICES_NODE[form]:
                found = self.nodes.lists.get((form, ALICE))
        if node.v == "omemo-bundles" and asked is not None:
            found = self.nodes.bundles.get((Namespace.OMEMO_2, ALICE, asked))
        elif node.v == "axolotl-bundle" and asked is not None:
            found = self.nodes.bundles.get((Namespace.AXOLOTL, ALICE, asked))
        if self.forbidden:
            found = None
        why = "forbidden" if self.forbidden else "" if found is not None else "none"
        items = () if found is None else (serialize(found).decode(),)
        self.arrive(Items(jid_of(sender), node.v, found is not None, items, asked, why).encode(), PEP_ITEMS)
