"""What is known of the user's OMEMO devices: for the whole account, as they are the user's and not a contact's.

`omemo-devices`   UserDevices   the devices, and how old their lists are
"""

from dataclasses import dataclass, field, replace

from adapters.xmpp.inside_state import SECOND_MS
from crypto.omemo.names import Namespace
from crypto.records import Records

MAX_DEVICES = 32
"""Devices that are encrypted for: each costs a key of its own in every message."""
MAX_KNOWN = 64
"""Devices that are remembered; the others are some that were removed."""
FETCHED_MS = 600 * SECOND_MS
"""How long a list that was asked for is believed to be the newest."""
TOLD_MS = 24 * 600 * SECOND_MS
"""The same for one that the server told of by itself: it will tell of the next one too."""
ANSWER_MS = 60 * SECOND_MS
"""How long an answer is waited for."""
AGAIN_MS = 600 * SECOND_MS
"""After how long keys that were not there are asked for again."""
SOON_MS = 60 * SECOND_MS
"""The same where nobody answered."""


@dataclass(frozen=True, slots=True)
class Missing:
    """That a device's keys could not be had, in one form of OMEMO."""

    namespace: Namespace
    until_ms: int


@dataclass(frozen=True, slots=True)
class Device:
    """One device of the user's."""

    id: int
    listed: tuple[Namespace, ...] = ()
    """The lists in which it stands now; none: it is inactive."""
    spoke: tuple[Namespace, ...] = ()
    """The forms in which it wrote to us."""
    identity: bytes = b""
    """The key that it is bound to; empty: it has shown none yet."""
    shown: bytes = b""
    """Another one that it showed since, about which nobody has decided."""
    missing: tuple[Missing, ...] = ()

    def lacks(self, namespace: Namespace, now_ms: int) -> bool:
        """Whether its keys are known not to be there."""
        return any(each.namespace is namespace and now_ms < each.until_ms for each in self.missing)

    def without(self, namespace: Namespace) -> "Device":
        """The same device, whose keys may be there."""
        return replace(self, missing=tuple(each for each in self.missing if each.namespace is not namespace))


@dataclass(frozen=True, slots=True)
class Listing:
    """One list: when it came, what came of asking, and whether that is under way."""

    namespace: Namespace
    code: str = ""
    """`ok`, `none`, `forbidden`, `unavailable`; empty: nothing is known."""
    fresh_until_ms: int = 0
    asked_ms: int = 0
    """When it was asked for; 0: no answer is awaited."""
    came_ms: int = 0


@dataclass(frozen=True, slots=True)
class UserDevices:
    """All that is known."""

    devices: tuple[Device, ...] = ()
    listings: tuple[Listing, ...] = field(default=())

    def find(self, id_: int) -> Device | None:
        """The device of that id."""
        return next((device for device in self.devices if device.id == id_), None)

    def listing(self, namespace: Namespace) -> Listing:
        """How one list stands."""
        return next((each for each in self.listings if each.namespace is namespace), Listing(namespace))

    def with_listing(self, listing: Listing) -> "UserDevices":
        """With what is known of a list now."""
        others = tuple(each for each in self.listings if each.namespace is not listing.namespace)
        return replace(self, listings=(*others, listing))

    def with_device(self, device: Device) -> "UserDevices":
        """With this device; a new one takes the place of another beyond a limit.

        Those go first that are in no list and showed no key: anybody can make up numbers. Then those in no list.
        """
        if self.find(device.id) is not None:
            return replace(self, devices=tuple(device if d.id == device.id else d for d in self.devices))
        kept = list(self.devices)
        while len(kept) >= MAX_KNOWN:
            kept.remove(min(kept, key=lambda d: (bool(d.listed), bool(d.identity))))
        return replace(self, devices=(*kept, device))

    def listed(self, namespace: Namespace, ids: tuple[int, ...]) -> "UserDevices":
        """After a list came: those that it names are active, the others are not (any more) in this form."""
        after = self
        for device in self.devices:
            if namespace in (*device.listed, *device.spoke) and device.id not in ids:
                listed, spoke = _other(device.listed, namespace), _other(device.spoke, namespace)
                after = after.with_device(replace(device, listed=listed, spoke=spoke).without(namespace))
        for id_ in ids:
            device = after.find(id_) or Device(id_)
            if namespace not in device.listed:
                after = after.with_device(replace(device.without(namespace), listed=(*device.listed, namespace)))
        return after

    def unlisted(self, namespace: Namespace) -> "UserDevices":
        """After it was told that there is no list, or none for us."""
        devices = tuple(replace(each, listed=_other(each.listed, namespace)) for each in self.devices)
        return replace(self, devices=devices)

    def forms(self, device: Device) -> tuple[Namespace, ...]:
        """The forms in which a device can be written to, the newest first.

        Lists say what is active. Where one cannot be read, who wrote to us is active.
        """

        def usable(namespace: Namespace) -> bool:
            if self.listing(namespace).code == "ok":
                return namespace in device.listed
            return namespace in (*device.listed, *device.spoke)

        return tuple(namespace for namespace in Namespace if usable(namespace))

    def stale(self) -> "UserDevices":
        """The same, to be asked for again before anything is sent, also what is asked for already."""
        return replace(self, listings=tuple(replace(each, fresh_until_ms=0, asked_ms=0) for each in self.listings))

    def doubted(self, now_ms: int) -> "UserDevices":
        """The same, to be asked for again, but not more often than once in a while: anybody can cause doubts."""

        def older(each: Listing) -> Listing:
            return replace(each, fresh_until_ms=0) if now_ms >= each.came_ms + SOON_MS else each

        return replace(self, listings=tuple(older(each) for each in self.listings))

    def met(self, now_ms: int) -> "UserDevices":
        """The same, to be asked for again soon: a client came, which may publish keys in a moment."""
        soon = now_ms + SOON_MS
        return replace(
            self, listings=tuple(replace(e, fresh_until_ms=min(e.fresh_until_ms, soon)) for e in self.listings)
        )

    @property
    def bound(self) -> tuple[bytes, ...]:
        """The keys that devices have."""
        return tuple(key for d in self.devices for key in (d.identity, d.shown) if key)


def _other(namespaces: tuple[Namespace, ...], than: Namespace) -> tuple[Namespace, ...]:
    return tuple(each for each in namespaces if each is not than)


def devices_in(records: Records) -> UserDevices:
    """What is known."""
    return records.get("omemo-devices", UserDevices) or UserDevices()
