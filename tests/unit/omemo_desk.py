"""Alice's OMEMO devices and her server's PEP nodes, beside the inside half; and the component's PEP for contacts."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from adapters.inside_api import ContactPolicy
from adapters.outside_api import AccountRoutes, Route
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_devices import Recipients, recipients
from adapters.xmpp.names import NOTICE, jid_of
from adapters.xmpp.outside_pep import Pep
from adapters.xmpp.pep.names import FETCH, NONE, PEP_EVENT, PEP_ITEMS, PUBLISH, RETRACT, Items
from bridge.wire.values import Address, Code, Number, Opaque
from crypto.omemo.bundles import bundle_element
from crypto.omemo.elements import device_list_element
from crypto.omemo.model import DeviceList, ListedDevice
from crypto.omemo.names import Namespace
from crypto.xml import serialize
from tests.unit.fake_step import Carried
from tests.unit.omemo_world import End
from tests.unit.test_xmpp_pep import Marks
from tests.unit.xmpp_site import ALICE, BOB, Site

T = TypeVar("T")
OLD, NEW = Namespace.AXOLOTL, Namespace.OMEMO_2
LISTS = {OLD: "axolotl-devices", NEW: "omemo-devices"}
BUNDLES = {OLD: "axolotl-bundle", NEW: "omemo-bundles"}
ON = {"omemo": "on"}


@dataclass
class Nodes:
    """What Alice's server holds for her: by code and number. `why`: answers of nodes that are not there."""

    held: dict[tuple[str, int | None], str] = field(default_factory=dict)
    why: dict[tuple[str, int | None], str] = field(default_factory=dict)

    def announce(self, *ends: End, forms: Sequence[Namespace] = (OLD,)) -> None:
        """Her devices, with their keys."""
        for form in forms:
            self.listed(form, *(end.device_id for end in ends))
            for end in ends:
                self.held[BUNDLES[form], end.device_id] = serialize(bundle_element(end.bundle(form))).decode()

    def listed(self, form: Namespace, *ids: int) -> None:
        """The ids of a list."""
        devices = DeviceList(form, tuple(ListedDevice(id_) for id_ in ids))
        self.held[LISTS[form], None] = serialize(device_list_element(devices)).decode()

    def answer(self, contact: str, code: str, number: int | None) -> Items:
        """What comes of a question."""
        found = self.held.get((code, number))
        if found is None:
            return Items(contact, code, False, (), number, self.why.get((code, number), NONE))
        return Items(contact, code, True, (found,), number)


class Desk(Site):
    """The half, with OMEMO for all contacts (unless `options` say otherwise)."""

    def __init__(self, options: dict[str, str] | None = None, **own: dict[str, str]) -> None:
        super().__init__()
        self.nodes = Nodes()
        self.asked: list[tuple[str, int | None]] = []
        self.told: list[str] = []
        self.marks = Marks()
        self.pep = Pep(lambda _: None)
        self.answering: Callable[[str, int | None], bool] = lambda _code, _number: True
        self.allow(ON if options is None else options, **own)
        route = AccountRoutes("alice", ALICE, {}, (Route("bob", "matrix", "@bob:m", BOB),))
        asyncio.run(self.pep.load(self.marks, [route]))

    def allow(self, options: dict[str, str], **own: dict[str, str]) -> None:
        """Other settings."""
        account = self.step.account
        contacts = tuple(replace(c, options={**options, **own.get(c.id, {})}) for c in account.contacts)
        self.step.account = replace(account, contacts=contacts, options=options)
        self.bob = contacts[0]

    def begin(self, *, resumed: bool = True) -> "Desk":
        """The account is brought in."""
        self.start(resumed=resumed)
        self.settle()
        return self

    def settle(self) -> None:
        """Answer what is asked, serve what is published, until nothing moves."""
        for _ in range(200):
            carried = self.step.take()
            if not carried:
                return
            self.carried += carried
            for one in carried:
                self._handle(one)
        raise AssertionError("questions go round in circles")

    def _handle(self, one: Carried) -> None:
        if one.request in (PUBLISH, RETRACT):
            assert asyncio.run(self.pep.carry(self.marks, "alice", one.request, one.values)).code == "ok"
        elif one.request == NOTICE:
            code = one.values["code"]
            assert isinstance(code, Code)
            self.told.append(code.v)
        elif one.request == FETCH:
            self._fetched(one)

    def _fetched(self, one: Carried) -> None:
        sender, code = one.values["from"], one.values["node"]
        number, item = one.values.get("number"), one.values.get("item")
        assert isinstance(sender, Address)
        assert isinstance(code, Code)
        about = number.v if isinstance(number, Number) else int(item.v) if isinstance(item, Opaque) else None
        self.asked.append((code.v, about))
        if self.answering(code.v, about):
            self.arrive(self.nodes.answer(jid_of(sender), code.v, about).encode(), PEP_ITEMS)

    def event(self, form: Namespace, contact: str = BOB) -> None:
        """Alice's server tells a contact of her list."""
        found = self.nodes.answer(f"{contact}/lockgate", LISTS[form], None)
        self.arrive(found.encode(), PEP_EVENT)
        self.settle()

    def at(self, act: Callable[[LegStep], T], contact: ContactPolicy | None = None) -> T:
        """Something is done in a step of a contact's leg."""
        results: list[T] = []

        def once() -> None:
            at = LegStep(self.step, contact or self.bob)
            results.append(act(at))
            at.finish()

        self.do(once)
        return results[0]

    def reach(self, contact: ContactPolicy | None = None) -> Recipients:
        """The recipients, once nothing is awaited any more."""
        for _ in range(100):
            found = self.at(recipients, contact)
            if not found.waiting:
                return found
            self.settle()
        raise AssertionError("it waits for ever")

    def reach_now(self) -> Recipients:
        """The recipients as they are, though something may be awaited."""
        return self.at(recipients)

    def ids(self, contact: ContactPolicy | None = None) -> list[int]:
        """The devices that can be reached."""
        return [each.peer.device_id for each in self.reach(contact).ready]

    @property
    def eve(self) -> ContactPolicy:
        """The other contact."""
        return self.step.account.contacts[1]

    def later(self, seconds: float) -> None:
        """Time passes; timers run."""
        until = self.step.now + int(seconds * 1000)
        while (due := self.step.wakes.get("tick", until + 1)) <= until:
            self.step.now = max(self.step.now, due)
            del self.step.wakes["tick"]
            self.do(lambda: self.half.woken(self.step, "tick"))
            self.settle()
        self.step.now = until
