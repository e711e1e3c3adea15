"""A stub of a homeserver over the in-memory world of the unit tests. Nobody measures it."""

import asyncio
import contextlib
import json
from typing import Any

from aiohttp import web

from adapters.matrix import names
from bridge.wire.values import Address, Public, Sealed
from tests.bench.ends import Entry, Far
from tests.unit.fake_step import Carried
from tests.unit.matrix_world import ALICE, BOB, World

PREFIX = "/_matrix/client/v3"
TIMELINE = 50
POLL_S = 20.0


class Gateway(Far):
    """The gateway's device: what it is told goes into the next syncs, what it asks is answered at once."""

    def __init__(self, emit: "StubHomeserver") -> None:
        super().__init__(emit.told)
        self.reply: bytes = b"{}"

    def answered(self, carried: Carried, body: object, code: str = "ok") -> None:
        """Keep the reply for the request that is being served."""
        self.reply = json.dumps(body).encode()


class StubHomeserver:
    """One user (the gateway's), one room, and Bob's machine on the other side."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.gateway = Gateway(self)
        world.machines[ALICE, "GATEWAY"] = self.gateway
        self._to_device: list[Any] = []
        self._events: list[Any] = []
        self._changed: set[str] = set()
        self._news = asyncio.Event()
        self.asked: list[tuple[str, float]] = []
        """Paths of all requests, and how long the asker would wait, in seconds."""
        self.port = 0
        self.sent = 0

    async def start(self) -> None:
        """Listen on a free port of the loopback."""
        app = web.Application(client_max_size=8 << 20)
        app.router.add_route("*", PREFIX + "/{path:.*}", self._serve)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]

    def told(self, entry: Entry) -> None:
        """Something for the gateway's device."""
        name, body = entry[2], json.loads(entry[3])
        if name == names.TO_DEVICE:
            self._to_device.append(body)
        elif name == names.EVENT:
            self._events.append(body["event"])
        elif name == names.KEYS:
            self._changed |= set(body.get("device_lists", {}).get("changed", []))
        self._news.set()

    async def _serve(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        body = await request.read()
        self.asked.append((path, float(request.query.get("timeout", 0)) / 1000))
        if path == "sync":
            return self._json(await self._sync("since" in request.query))
        parts = path.split("/")
        told = self._known().get((parts[0], parts[-1])) or self._known().get((parts[0], ""))
        if told is not None:
            return self._json(told)
        if parts[0] == "user":
            return self._account_data(parts[-1], body if request.method == "PUT" else None)
        if parts[0] == "room_keys":
            return self._backup(body)
        return self._asked(path, body)

    def _backup(self, body: bytes) -> web.Response:
        """There is none, and what is written is taken."""
        if body:
            return self._json({"version": "1", "etag": "1", "count": 0})
        return web.json_response({"errcode": "M_NOT_FOUND", "error": "no"}, status=404)

    def _account_data(self, kind: str, put: bytes | None) -> web.Response:
        held = self.world.account_data
        if put is not None:
            held[ALICE, kind] = json.loads(put)
            return self._json({})
        if (ALICE, kind) in held:
            return self._json(held[ALICE, kind])
        return web.json_response({"errcode": "M_NOT_FOUND", "error": "no"}, status=404)

    def _known(self) -> dict[tuple[str, str], object]:
        """Answers that are always the same, by the first and the last part of the path."""
        return {
            ("login", ""): {"user_id": ALICE, "access_token": "t", "device_id": "GATEWAY"},
            ("account", ""): {"user_id": ALICE, "device_id": "GATEWAY"},
            ("profile", ""): {},
            ("joined_rooms", ""): {"joined_rooms": [self.world.room_id]},
            ("user", "filter"): {"filter_id": "1"},
            ("user", "m.direct"): {BOB: [self.world.room_id]},
        }

    def _asked(self, path: str, body: bytes) -> web.Response:
        world = self.world
        parts = path.split("/")
        if parts[-1] == "state":
            members = [_state("m.room.member", user, {"membership": m}) for user, m in world.members.items()]
            return self._json([*members, _state("m.room.encryption", "", world.encryption)])
        if parts[-1] == "messages":
            return self._json({"chunk": []})
        match parts[0], parts[1]:
            case "keys", "upload":
                carried = Carried(names.KEYS_UPLOAD, {"body": Public(v=body)}, "l", "k", None)
            case "keys", "device_signing":
                carried = Carried(names.SIGNING_KEYS_UPLOAD, {"body": Public(v=body)}, "l", "k", None)
            case "keys", "signatures":
                carried = Carried(names.SIGNATURES_UPLOAD, {"body": Public(v=body)}, "l", "k", None)
            case "keys", "query":
                user = next(iter(json.loads(body)["device_keys"]))
                carried = Carried(names.KEYS_QUERY, {"user": Address(v=user)}, "l", "k", None)
            case "keys", "claim":
                keys = json.dumps(json.loads(body)["one_time_keys"]).encode()
                carried = Carried(names.KEYS_CLAIM, {"keys": Public(v=keys)}, "l", "k", None)
            case "sendToDevice", "m.room_key.withheld":
                carried = Carried(names.SEND_WITHHELD, {"body": Public(v=body)}, "l", "k", None)
            case "sendToDevice", _:
                carried = Carried(names.SEND_TO_DEVICE, {"body": Sealed(v=body)}, "l", "k", None)
            case _:
                self.sent += 1
                carried = Carried(names.ROOM_SEND, {"content": Sealed(v=body)}, "l", "k", None)
        world.carry_out(self.gateway, carried)
        reply = self.gateway.reply
        world.settle()
        return web.Response(body=reply, content_type="application/json")

    async def _sync(self, poll: bool) -> dict[str, Any]:
        if poll and not (self._events or self._to_device or self._changed):
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), POLL_S)
        events, self._events = self._events[:TIMELINE], self._events[TIMELINE:]
        to_device, self._to_device = self._to_device, []
        changed, self._changed = self._changed, set()
        rooms = {"join": {self.world.room_id: {"timeline": {"events": events}}}} if events else {}
        return {
            "next_batch": "s",
            "rooms": rooms,
            "to_device": {"events": to_device},
            "device_lists": {"changed": sorted(changed)},
            "device_one_time_keys_count": {"signed_curve25519": len(self.world.one_time[ALICE, "GATEWAY"])},
            "device_unused_fallback_key_types": ["signed_curve25519"],
        }

    def _json(self, value: object) -> web.Response:
        return web.Response(body=json.dumps(value).encode(), content_type="application/json")


def _state(kind: str, key: str, content: object) -> dict[str, object]:
    return {"type": kind, "state_key": key, "content": content}
