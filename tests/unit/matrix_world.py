"""A homeserver in memory between machines: it keeps their keys, hands on their events, and can be told to misbehave."""

import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any, cast

from adapters.inside_api import AccountPolicy, ContactPolicy
from adapters.matrix import names
from adapters.matrix.inside import MatrixInside
from adapters.matrix.inside_identity import IdentityState, state_of
from bridge.wire.values import Address, Code, Number, Opaque, Public, Sealed
from crypto.message import Assurance, Message, Signal
from tests.unit.fake_step import Carried, MemoryRecords, MemoryStep

ALICE, BOB, CAROL = "@alice:one.example", "@bob:two.example", "@carol:two.example"
JSON = dict[str, Any]


def policy(user: str, *contacts: str) -> AccountPolicy:
    """An account of this Matrix user with these contacts, named by their local parts."""
    rows = tuple(
        ContactPolicy(_localpart(mxid), "matrix", mxid, f"{_localpart(mxid)}@gate", Assurance.END_TO_END)
        for mxid in contacts
    )
    return AccountPolicy(_localpart(user), "xmpp", "me@here", {"matrix": user}, rows)


def _localpart(mxid: str) -> str:
    return mxid[1:].partition(":")[0]


@dataclass
class Machine:
    """One MatrixInside with its step, logged in as a device."""

    step: MemoryStep
    half: MatrixInside
    user: str
    device: str

    def arrives(self, name: str, body: object) -> None:
        """Hand an arrival in, as one step."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.step.commit(lambda: self.half.arrived(self.step, self.step.input("arrival", name, data, network="matrix")))

    def answered(self, carried: Carried, body: object, code: str = "ok") -> None:
        """Hand the outcome of a request in, as one step."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.step.commit(
            lambda: self.half.answered(
                self.step,
                self.step.input("answer", carried.request, data, network="matrix", key=carried.key, code=code),
            )
        )

    def wakes(self, name: str) -> None:
        """Hand a wake in."""
        self.step.commit(lambda: self.half.woken(self.step, name))

    def starts(self, *, resumed: bool) -> None:
        """The account is brought in."""
        self.step.commit(lambda: self.half.started(self.step, resumed=resumed))

    def sends(self, text: str, message_id: str | None = None) -> None:
        """Give it a message for its first contact."""
        contact = self.step.account.contacts[0]
        position = self.step.position + 1
        message = Message(message_id or f"m{position}", text, position=position)
        self.step.commit(lambda: self.half.to_network(self.step, contact, message))

    def hands_over(self, message: Message) -> None:
        """Give it this message of the other network for its first contact."""
        contact = self.step.account.contacts[0]
        self.step.commit(lambda: self.half.to_network(self.step, contact, message))

    def signals(self, signal: Signal) -> None:
        """Give it a signal of the user's for its first contact."""
        contact = self.step.account.contacts[0]
        self.step.commit(lambda: self.half.signalled(self.step, contact, signal))

    def allows(self, **options: str) -> None:
        """The operator's policy for its contacts: `reactions="yes"` is the option `content-reactions`."""
        told = {f"content-{name}": value for name, value in options.items()}
        account = self.step.account
        self.step.account = replace(account, contacts=tuple(replace(one, options=told) for one in account.contacts))

    def delivered(self) -> list[Message]:
        """The messages it delivered since the last call."""
        taken, self.step.deliveries = self.step.deliveries, []
        return [message for _, message in taken]

    def texts(self) -> list[str]:
        """What it delivered, in order."""
        return [message.body for _, message in self.step.deliveries]


@dataclass
class World:
    """The homeserver. `room` is the state of the one room; `timeline` all its events."""

    machines: dict[tuple[str, str], Machine] = field(default_factory=dict)
    device_keys: dict[str, dict[str, JSON]] = field(default_factory=lambda: defaultdict(dict))
    one_time: dict[tuple[str, str], dict[str, JSON]] = field(default_factory=lambda: defaultdict(dict))
    fallback: dict[tuple[str, str], dict[str, JSON]] = field(default_factory=dict)
    identities: dict[str, JSON] = field(default_factory=dict)
    account_data: dict[tuple[str, str], JSON] = field(default_factory=dict)
    backups: dict[str, list[JSON]] = field(default_factory=lambda: defaultdict(list))
    """Versions of each user's key backup, as made; a deleted one is emptied."""
    backed_up: dict[tuple[str, str, str, str], JSON] = field(default_factory=dict)
    """Entries by user, version, room and session."""
    spooled: dict[str, bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    media: dict[str, bytes] = field(default_factory=dict)
    """Files under way by transfer, and those that were uploaded by URI."""
    encryption: JSON | None = field(default_factory=lambda: {"algorithm": "m.megolm.v1.aes-sha2"})
    members: dict[str, str] = field(default_factory=lambda: {ALICE: "join", BOB: "join"})
    room_id: str = "!Room:one.example"
    timeline: list[JSON] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    """Requests of these names are not carried out."""
    failing: dict[str, str] = field(default_factory=dict)
    """Requests of these names fail for good with the code."""
    to_device_held: bool = False
    to_device: list[tuple[Machine, JSON]] = field(default_factory=list)
    events_held: bool = False
    waiting: list[tuple[Machine, Carried]] = field(default_factory=list)
    log: list[tuple[str, Carried]] = field(default_factory=list)

    def join(self, user: str, device: str, *contacts: str, signed: bool = True) -> Machine:
        """A new machine, logged in. Not `signed`: its owner's identity does not vouch for it."""
        half = MatrixInside()
        step = MemoryStep(policy(user, *contacts), MemoryRecords(), seed=f"{user}{device}", half=half)
        machine = self.machines[user, device] = Machine(step, half, user, device)
        elder = next((m for (owner, _), m in self.machines.items() if owner == user and m is not machine), None)
        if elder is not None and signed:  # the owner's devices share an identity
            shared = state_of(elder.step)
            step.records.put("identity", IdentityState(shared.own, published=True, stored=True))
        machine.starts(resumed=True)
        machine.arrives(names.DEVICE, {"user_id": user, "device_id": device})
        machine.arrives(names.KEYS, {"device_one_time_keys_count": {}, "full": True})
        self.settle()
        return machine

    def leave(self, user: str, device: str) -> None:
        """A device is logged out."""
        del self.machines[user, device]
        self.device_keys[user].pop(device)
        self.changed(user)

    def changed(self, user: str) -> None:
        """Tell all that the user's devices changed."""
        for machine in list(self.machines.values()):
            machine.arrives(names.KEYS, {"device_lists": {"changed": [user]}, **self.stock(machine)})

    def stock(self, machine: Machine) -> JSON:
        """The counts of a device's keys as `/sync` tells them."""
        count = len(self.one_time[machine.user, machine.device])
        counts = {"signed_curve25519": count} if count else {}
        return {"device_one_time_keys_count": counts}

    def settle(self) -> None:
        """Carry out requests until there are none."""
        while True:
            for machine in list(self.machines.values()):
                self.waiting += [(machine, carried) for carried in machine.step.take()]
            ready = [item for item in self.waiting if item[1].request not in self.held]
            if not ready:
                return
            self.waiting = [item for item in self.waiting if item[1].request in self.held]
            for machine, carried in ready:
                self.log.append((machine.user, carried))
                self.carry_out(machine, carried)

    def carry_out(self, machine: Machine, carried: Carried) -> None:
        """One request, answered."""
        if carried.request in self.failing:
            machine.answered(carried, b"", self.failing[carried.request])
            return
        handler = getattr(self, "_" + carried.request.replace("-", "_"))
        body = handler(machine, carried)
        if isinstance(body, str):
            machine.answered(carried, b"", body)
            return
        machine.answered(carried, {} if body is None else body, "ok" if body is not None else names.NOT_FOUND)

    def sent(self, user: str, request: str) -> list[Carried]:
        """The requests of that name that the user's machines made."""
        return [carried for name, carried in self.log if name == user and carried.request == request]

    # ---------------------------------------------------------------- requests
    def _send_verification(self, machine: Machine, carried: Carried) -> JSON:
        kind = cast(Opaque, carried.values["type"]).v
        for user, devices in json.loads(cast(Public, carried.values["body"]).v)["messages"].items():
            for device, content in devices.items():
                if (target := self.machines.get((user, device))) is not None:
                    event = {"type": kind, "sender": machine.user, "content": content}
                    self.to_device.append((target, event))
        if not self.to_device_held:
            self.flush_to_device()
        return {}

    def _send_withheld(self, machine: Machine, carried: Carried) -> JSON:
        body = json.loads(cast(Public, carried.values["body"]).v)
        for user, devices in body["messages"].items():
            for device, content in devices.items():
                target = self.machines.get((user, device))
                if target is not None:
                    event = {"type": "m.room_key.withheld", "sender": machine.user, "content": content}
                    self.to_device.append((target, event))
        if not self.to_device_held:
            self.flush_to_device()
        return {}

    def _keys_upload(self, machine: Machine, carried: Carried) -> JSON:
        body = json.loads(cast(Public, carried.values["body"]).v)
        where = (machine.user, machine.device)
        if "device_keys" in body:
            self.device_keys[machine.user][machine.device] = body["device_keys"]
            self.changed(machine.user)
        self.one_time[where].update(body.get("one_time_keys", {}))
        self.fallback[where] = body.get("fallback_keys", self.fallback.get(where, {}))
        return {"one_time_key_counts": {"signed_curve25519": len(self.one_time[where])}}

    def _keys_query(self, machine: Machine, carried: Carried) -> JSON:
        user = cast(Address, carried.values["user"]).v
        answer: JSON = {"device_keys": {user: dict(self.device_keys[user])}, "failures": {}}
        for name, key in self.identities.get(user, {}).items():
            if name != "user_signing_key" or user == machine.user:
                answer[f"{name}s"] = {user: key}
        return answer

    def _signing_keys_upload(self, machine: Machine, carried: Carried) -> JSON:
        self.identities[machine.user] = json.loads(cast(Public, carried.values["body"]).v)
        self.changed(machine.user)
        return {}

    def _signatures_upload(self, machine: Machine, carried: Carried) -> JSON:
        for user, devices in json.loads(cast(Public, carried.values["body"]).v).items():
            for device_id, signed in devices.items():
                listed = self.device_keys[user].get(device_id)
                kept = listed if listed is not None else self.identities[user]["master_key"]
                kept.setdefault("signatures", {})
                for signer, signatures in signed["signatures"].items():
                    kept["signatures"].setdefault(signer, {}).update(signatures)
            self.changed(user)
        return {"failures": {}}

    def _account_data_put(self, machine: Machine, carried: Carried) -> JSON:
        value = carried.values.get("sealed") or carried.values.get("public")
        kind = cast(Opaque, carried.values["type"]).v
        self.account_data[machine.user, kind] = json.loads(cast(Sealed, value).v)
        return {}

    def _account_data_get(self, machine: Machine, carried: Carried) -> JSON | None:
        return self.account_data.get((machine.user, cast(Opaque, carried.values["type"]).v))

    def _backup_version_get(self, machine: Machine, carried: Carried) -> JSON | None:
        present = [(number, made) for number, made in enumerate(self.backups[machine.user], 1) if made]
        if not present:
            return None
        number, made = present[-1]
        return {**made, "version": str(number), "count": 0, "etag": "0"}

    def _backup_version_make(self, machine: Machine, carried: Carried) -> JSON:
        self.backups[machine.user].append(json.loads(cast(Public, carried.values["body"]).v))
        return {"version": str(len(self.backups[machine.user]))}

    def _backup_put(self, machine: Machine, carried: Carried) -> JSON | str:
        version = cast(Opaque, carried.values["version"]).v
        made = self.backups[machine.user]
        if not 0 < int(version) <= len(made) or not made[int(version) - 1]:
            return names.NOT_FOUND
        if any(made[int(version) :]):
            return names.FORBIDDEN
        body = json.loads(cast(Sealed, carried.values["body"]).v)
        for room, sessions in body["rooms"].items():
            for session, entry in sessions["sessions"].items():
                self.backed_up[machine.user, version, room, session] = entry
        return {"count": len(self.backed_up), "etag": "1"}

    def _backup_get(self, machine: Machine, carried: Carried) -> JSON | None:
        version, session = cast(Opaque, carried.values["version"]).v, cast(Opaque, carried.values["session"]).v
        return self.backed_up.get((machine.user, version, cast(Address, carried.values["room"]).v, session))

    def _send_key_request(self, machine: Machine, carried: Carried) -> JSON:
        for user, devices in json.loads(cast(Public, carried.values["body"]).v)["messages"].items():
            for device, content in devices.items():
                if (target := self.machines.get((user, device))) is not None:
                    event = {"type": "m.room_key_request", "sender": machine.user, "content": content}
                    self.to_device.append((target, event))
        if not self.to_device_held:
            self.flush_to_device()
        return {}

    def _keys_claim(self, machine: Machine, carried: Carried) -> JSON:
        answer: JSON = {}
        for user, devices in json.loads(cast(Public, carried.values["keys"]).v).items():
            for device in devices:
                stock = self.one_time[user, device]
                name = next(iter(stock), None)
                found = {name: stock.pop(name)} if name is not None else self.fallback.get((user, device), {})
                answer.setdefault(user, {})[device] = found
        return {"one_time_keys": answer}

    def _send_to_device(self, machine: Machine, carried: Carried) -> JSON:
        body = json.loads(cast(Sealed, carried.values["body"]).v)
        for user, devices in body["messages"].items():
            for device, content in devices.items():
                target = self.machines.get((user, device))
                if target is not None:
                    event = {"type": "m.room.encrypted", "sender": machine.user, "content": content}
                    self.to_device.append((target, event))
        if not self.to_device_held:
            self.flush_to_device()
        return {}

    def flush_to_device(self) -> None:
        """Hand on what is held."""
        held, self.to_device = self.to_device, []
        for target, event in held:
            target.arrives(names.TO_DEVICE, event)

    def room_state(self, contact: str) -> JSON:
        """Body of a `room` arrival."""
        return {
            "contact": contact,
            "room_id": self.room_id,
            "encryption": self.encryption,
            "members": dict(self.members),
        }

    def _room_obtain(self, machine: Machine, carried: Carried) -> JSON:
        return self.room_state(cast(Address, carried.values["contact"]).v)

    def tell_room(self) -> None:
        """Tell every machine the room's state."""
        for machine in self.machines.values():
            for contact in machine.step.account.contacts:
                machine.arrives(names.ROOM, self.room_state(contact.address))

    def _room_send(self, machine: Machine, carried: Carried) -> JSON:
        event = {
            "type": "m.room.encrypted",
            "sender": machine.user,
            "event_id": f"$event{len(self.timeline)}",
            "origin_server_ts": 1_800_000_000_000 + len(self.timeline),
            "content": json.loads(cast(Sealed, carried.values["content"]).v),
        }
        self.timeline.append(event)
        if not self.events_held:
            self.show(event)
        return {"event_id": event["event_id"]}

    def _file_part(self, machine: Machine, carried: Carried) -> JSON:
        self.spooled[cast(Opaque, carried.values["transfer"]).v] += cast(Sealed, carried.values["content"]).v
        return {}

    def _file_upload(self, machine: Machine, carried: Carried) -> JSON:
        url = f"mxc://one.example/medium{len(self.media)}"
        self.media[url] = bytes(self.spooled.pop(cast(Opaque, carried.values["transfer"]).v))
        return {"content_uri": url}

    def _file_drop(self, machine: Machine, carried: Carried) -> JSON:
        self.spooled.pop(cast(Opaque, carried.values["transfer"]).v, None)
        return {}

    def _file_forget(self, machine: Machine, carried: Carried) -> JSON:
        return {}

    def _file_fetch(self, machine: Machine, carried: Carried) -> bytes | None:
        offset, size = cast(Number, carried.values["offset"]).v, cast(Number, carried.values["size"]).v
        medium = self.media.get(cast(Address, carried.values["url"]).v)
        return None if medium is None else medium[offset : offset + size]

    def _room_react(self, machine: Machine, carried: Carried) -> JSON:
        relation = {
            "rel_type": "m.annotation",
            "event_id": cast(Address, carried.values["event"]).v,
            "key": cast(Public, carried.values["emoji"]).v.decode(),
        }
        return self._plain_event(machine, "m.reaction", {"m.relates_to": relation})

    def _room_redact(self, machine: Machine, carried: Carried) -> JSON:
        return self._plain_event(machine, "m.room.redaction", {"redacts": cast(Address, carried.values["event"]).v})

    def _plain_event(self, machine: Machine, kind: str, content: JSON) -> JSON:
        event = {"type": kind, "sender": machine.user, "event_id": f"$event{len(self.timeline)}", "content": content}
        self.timeline.append(event)
        if not self.events_held:
            self.show(event)
        return {"event_id": event["event_id"]}

    def _room_receipt(self, machine: Machine, carried: Carried) -> JSON:
        if cast(Code, carried.values["kind"]).v == "read":
            body = {"contact": machine.user, "read": [cast(Address, carried.values["event"]).v]}
            for (user, _), other in list(self.machines.items()):
                if user != machine.user:
                    other.arrives(names.SIGNAL, body)
        return {}

    def _room_typing(self, machine: Machine, carried: Carried) -> JSON:
        return {}

    def _presence_put(self, machine: Machine, carried: Carried) -> JSON:
        return {}

    def show(self, event: JSON, room_id: str | None = None) -> None:
        """Hand an event of the timeline to all machines."""
        for machine in list(self.machines.values()):
            machine.arrives(names.EVENT, {"room_id": room_id or self.room_id, "event": event})


def pair() -> tuple[World, Machine, Machine]:
    """Alice and Bob in one room, each with one device, each knowing the room."""
    world = World()
    alice = world.join(ALICE, "ALICEDEV", BOB)
    bob = world.join(BOB, "BOBDEV", ALICE)
    world.tell_room()
    world.settle()
    return world, alice, bob
