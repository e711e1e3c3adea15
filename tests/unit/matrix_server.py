"""A homeserver for the outside half, over real HTTP on loopback, that misbehaves when told to."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web

JSON = dict[str, Any]
ALICE, BOB, CAROL = "@alice:one.example", "@bob:two.example", "@carol:two.example"
ROOM = "!Room:one.example"


@dataclass(frozen=True)
class Misdeed:
    """An answer that is given instead of the right one."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    hang_up: bool = False


def refusal(status: int, errcode: str, **more: object) -> Misdeed:
    """An error as Matrix has them."""
    return Misdeed(status, json.dumps({"errcode": errcode, "error": "no", **more}).encode())


@dataclass
class FakeHomeserver:
    """Its users log in with `secret`; `syncs` are the answers of `/sync`, one after the other."""

    misdeeds: dict[str, list[Misdeed]] = field(default_factory=lambda: defaultdict(list))
    """By a part of method and path; taken once each."""
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    members: dict[str, dict[str, str]] = field(default_factory=dict)
    encryption: dict[str, JSON] = field(default_factory=dict)
    state: dict[str, dict[str, JSON]] = field(default_factory=dict)
    """Further state of rooms, by type."""
    senders: dict[str, str] = field(default_factory=dict)
    """Who set the state of a room, when it was not Bob."""
    direct: JSON = field(default_factory=dict)
    pages: dict[str, JSON] = field(default_factory=dict)
    syncs: list[JSON] = field(default_factory=list)
    token: str = ""
    polling: int = 0
    """Syncs that wait, also for somebody who is gone."""
    device: str = ""
    logins: int = 0
    made: int = 0
    url: str = ""
    _runner: web.AppRunner | None = None
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> "FakeHomeserver":
        """Listen on a free port of loopback."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    def tell(self, **sync: object) -> None:
        """Queue an answer to `/sync`."""
        self.syncs.append(dict(sync))
        self._more.set()

    def asked(self, part: str) -> list[tuple[str, str, bytes]]:
        """The requests whose method and path contain this."""
        return [request for request in self.requests if part in f"{request[0]} {request[1]}"]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path_qs.removeprefix("/_matrix/client/v3")
        path = path.removeprefix("/_matrix/client/r0")
        body = await request.read()
        self.requests.append((request.method, path, body))
        for part, misdeeds in self.misdeeds.items():
            if misdeeds and part in f"{request.method} {path}":
                return await self._misbehave(request, misdeeds.pop(0))
        if path.startswith("/login"):
            return self._login(json.loads(body))
        if request.headers.get("Authorization") != f"Bearer {self.token}" or not self.token:
            return _error(401, "M_UNKNOWN_TOKEN", soft_logout=True)
        return await self._answer(request.method, path, body)

    async def _misbehave(self, request: web.Request, misdeed: Misdeed) -> web.StreamResponse:
        await asyncio.sleep(misdeed.delay_s)
        if misdeed.hang_up:
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=misdeed.status, body=misdeed.body, headers=misdeed.headers)

    def _login(self, body: JSON) -> web.Response:
        if body.get("password") != "secret":
            return _error(403, "M_FORBIDDEN")
        self.logins += 1
        self.token = f"token{self.logins}"
        self.device = body.get("device_id") or f"DEVICE{self.logins}"
        return web.json_response({"user_id": ALICE, "access_token": self.token, "device_id": self.device})

    async def _answer(self, method: str, path: str, body: bytes) -> web.Response:
        name, _, query = path.partition("?")
        parts = [unquote(part) for part in name.split("/")[1:]]
        if parts[0] == "user":
            return self._user(method, parts, body)
        if parts[0] == "rooms":
            return self._room(parts, query)
        answer: JSON = {"one_time_key_counts": {}}
        if parts[0] == "account":
            answer = {"user_id": ALICE, "device_id": self.device}
        elif parts[0] == "sync":
            answer = await self._sync()
        elif parts[0] == "joined_rooms":
            answer = {"joined_rooms": [room for room, members in self.members.items() if members[ALICE] == "join"]}
        elif parts[0] == "createRoom":
            answer = {"room_id": self._create(json.loads(body))}
        return web.json_response(answer)

    async def _sync(self) -> JSON:
        if not self.syncs:
            self._more.clear()
            self.polling += 1
            try:
                await asyncio.wait_for(self._more.wait(), 0.2)
            except TimeoutError:
                return {"next_batch": "idle"}
            finally:
                self.polling -= 1
        return {"next_batch": f"after{len(self.requests)}", **self.syncs.pop(0)}

    def _user(self, method: str, parts: Sequence[str], body: bytes) -> web.Response:
        if parts[2] == "filter":
            return web.json_response({"filter_id": "1"})
        if method == "PUT":
            self.direct = json.loads(body)
        elif not self.direct:
            return _error(404, "M_NOT_FOUND")
        return web.json_response(self.direct)

    def _room(self, parts: Sequence[str], query: str) -> web.Response:
        room = parts[1]
        if parts[2] == "state":
            return web.json_response(self._state(room))
        if parts[2] == "messages":
            start = next(part.partition("=")[2] for part in query.split("&") if part.startswith("from="))
            return web.json_response(self.pages.get(start, {"chunk": []}))
        if parts[2] == "join":
            self.members[room][ALICE] = "join"
        if parts[2] == "leave":
            self.members[room][ALICE] = "leave"
        return web.json_response({"event_id": "$sent", "room_id": room})

    def _state(self, room: str) -> list[JSON]:
        events = [_member(user, membership) for user, membership in self.members[room].items()]
        found = {"m.room.encryption": self.encryption.get(room), **self.state.get(room, {})}
        return events + [
            {"type": kind, "state_key": "", "sender": self.senders.get(room, BOB), "content": content}
            for kind, content in found.items()
            if content is not None
        ]

    def _create(self, body: JSON) -> str:
        self.made += 1
        room = f"!made{self.made}:one.example"
        self.members[room] = {ALICE: "join", **dict.fromkeys(body["invite"], "invite")}
        self.encryption[room] = body["initial_state"][0]["content"]
        return room

    def direct_room(self, room: str = ROOM, contact: str = BOB) -> None:
        """An encrypted room with the contact, who is in it."""
        self.members[room] = {ALICE: "join", contact: "join"}
        self.encryption[room] = {"algorithm": "m.megolm.v1.aes-sha2"}


def _member(user: str, membership: str) -> JSON:
    return {"type": "m.room.member", "state_key": user, "sender": user, "content": {"membership": membership}}


def _error(status: int, errcode: str, **more: object) -> web.Response:
    return web.json_response({"errcode": errcode, "error": "no", **more}, status=status)


def timeline_event(number: int | str, sender: str = BOB) -> JSON:
    """An encrypted event."""
    content = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x"}
    return {"type": "m.room.encrypted", "sender": sender, "event_id": f"${number}", "content": content}


def joined(*events: JSON, room: str = ROOM, **timeline: object) -> JSON:
    """The part `rooms` of a sync."""
    return {"join": {room: {"timeline": {"events": list(events), **timeline}}}}


@dataclass
class RecordingEdge:
    """The edge of a gateway, in memory."""

    marks: dict[str, str] = field(default_factory=dict)
    entries: list[tuple[str, JSON]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    refusing: int = 0

    async def arrived(self, account: str, name: str, body: bytes, *, mark: tuple[str, str] | None = None) -> None:
        """See Edge."""
        await self.arrived_batch(account, [(name, body)], mark=mark)

    async def arrived_batch(
        self, account: str, entries: Sequence[tuple[str, bytes]], *, mark: tuple[str, str] | None = None
    ) -> None:
        """See Edge."""
        self.entries += [(name, json.loads(body)) for name, body in entries]
        if mark is not None:
            self.marks[mark[0]] = mark[1]

    async def mark(self, account: str, name: str) -> str | None:
        """See Edge."""
        return self.marks.get(name)

    async def set_mark(self, account: str, name: str, value: str) -> None:
        """See Edge."""
        self.marks[name] = value

    def health(self, account: str | None, state: str, detail: str) -> None:
        """See Edge."""
        self.states.append(state)

    def named(self, name: str) -> list[JSON]:
        """Bodies of the arrivals of that name."""
        return [body for found, body in self.entries if found == name]

    def event_ids(self) -> list[str]:
        """Ids of the events, in the order they came."""
        return [body["event"]["event_id"] for body in self.named("event")]
