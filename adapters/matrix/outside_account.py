"""One account's connection: logged in, syncing, carrying requests; it repairs itself until it is closed."""

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from adapters.matrix import names
from adapters.matrix.outside_login import Login, LoginFailed
from adapters.matrix.outside_requests import http_request
from adapters.matrix.outside_rooms import Rooms, RoomUnreadable
from adapters.matrix.outside_signals import SignalNews
from adapters.matrix.outside_sync import (
    ROOM_TYPES,
    TIMELINE_LIMIT,
    Entry,
    Event,
    GapUnfilled,
    InvitedRoom,
    JoinedRoom,
    KeyNews,
    Sync,
    event_entry,
    event_of,
    filled,
    membership,
    parsed_sync,
    sync_filter,
    to_device_entries,
)
from adapters.matrix.transport import MAX_SYNC, OVERSIZE, Homeserver, Reply, outcome_of
from adapters.outside_api import AccountRoutes, Edge, Outcome
from bridge.wire.link import Carry
from bridge.wire.values import MAX_BODY

SINCE_MARK = "since"
POLL_S = 30
POLL_GRACE_S = 30
LONGEST_BACKOFF_S = 60.0
NOT_READY = Outcome(names.UNAVAILABLE, retry=True, retry_after_s=1.0)


class _Interrupted(Exception):
    """The sync loop has to start over: the token went, or the server does not answer. `reply` says which."""

    def __init__(self, reply: Reply | None = None) -> None:
        super().__init__("the sync loop has to start over")
        self.reply = reply


@dataclass(slots=True)
class MatrixAccount:
    """The connection of one account."""

    routes: AccountRoutes
    edge: Edge
    server: Homeserver
    login: Login = field(init=False)
    rooms: Rooms = field(init=False)
    _task: "asyncio.Task[None] | None" = None
    _ready: bool = False
    _since: str | None = None
    _news: KeyNews = field(default_factory=KeyNews)
    _signals: SignalNews = field(default_factory=SignalNews)
    _excluded: set[str] = field(default_factory=set)
    _filter: str | None = None
    _told: dict[str, bytes] = field(default_factory=dict)
    _stale: set[str] = field(default_factory=set)
    _last: dict[str, str] = field(default_factory=dict)
    _fresh: set[str] = field(default_factory=set)
    _poll: "asyncio.Task[Reply] | None" = None
    _remapped: bool = True

    def __post_init__(self) -> None:
        credentials = self.routes.credentials.get(names.NETWORK, {})
        self.login = Login(self.routes.account, self.edge, self.server, credentials)
        self.rooms = Rooms(self.routes.account, self.edge, self.server, _contacts(self.routes))

    @classmethod
    def of(cls, routes: AccountRoutes, edge: Edge, settings: Mapping[str, str]) -> "MatrixAccount":
        """The account that these routes describe."""
        credentials = routes.credentials.get(names.NETWORK, {})
        url = credentials.get("homeserver") or settings["homeserver"]
        return cls(routes, edge, Homeserver(url, routes.far_addresses[names.NETWORK]))

    def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.create_task(self._run())

    def remap(self, routes: AccountRoutes) -> None:
        """The operator changed the contacts."""
        self.routes = routes
        self.rooms.contacts = _contacts(routes)
        self._remapped = True
        self._excluded.clear()
        self._filter = None

    async def close(self) -> None:
        """End the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.server.close()

    # ------------------------------------------------------------ requests of the enclave
    async def carry(self, request: Carry) -> Outcome:
        """Carry one request out."""
        if not self._ready:
            return NOT_READY
        values: dict[str, Any] = {name: value.v for name, value in request.values.items()}
        if request.request == names.ROOM_OBTAIN:
            outcome = await self.rooms.obtain(values["contact"], values.get("avoid"))
            if self._poll is not None and self._wrongly_excluded():
                self._poll.cancel()
            return self._noted(outcome)
        if request.request == names.SIGNING_KEYS_UPLOAD:
            return self._noted(await self.login.authorised("/keys/device_signing/upload", values["body"]))
        method, path, body = http_request(request.request, request.key, values, self.server.user)
        reply = await self.server.request(method, path, body)
        if reply.status == OVERSIZE and request.request in (names.KEYS_QUERY, names.KEYS_CLAIM):
            return Outcome(names.TOO_LARGE)  # it would be as large the next time
        return self._noted(outcome_of(reply))

    def _noted(self, outcome: Outcome) -> Outcome:
        if outcome.code == names.LOGGED_OUT:
            self._ready = False
            if self._poll is not None:
                self._poll.cancel()  # the next one meets the same answer, and logs in again
        return outcome

    # ------------------------------------------------------------ the loop
    async def _run(self) -> None:
        failures = 0
        await self.rooms.load()
        self._since = await self.edge.mark(self.routes.account, SINCE_MARK)
        while True:
            delay = None
            try:
                await self._log_in()
                while True:
                    await self._sync_once()
                    failures = 0
            except LoginFailed as error:
                self._tell_down(refused=error.final)
                delay = LONGEST_BACKOFF_S if error.final else error.retry_after_s
            except (_Interrupted, GapUnfilled, RoomUnreadable) as error:
                delay = await self._interrupted(error)
            except Exception:  # a fault of ours must not end the account's connection for good
                self.edge.health(self.routes.account, "down", "An unforeseen answer could not be handled.")
            self._ready = False
            failures += 1
            back_off = min(LONGEST_BACKOFF_S, 2.0 ** min(failures, 6) / 4)
            await asyncio.sleep(delay if delay is not None else back_off * random.uniform(0.5, 1.0))  # noqa: S311

    async def _log_in(self) -> None:
        device = await self.login.establish()
        body = json.dumps({"user_id": self.server.user, "device_id": device}).encode()
        await self.edge.arrived(self.routes.account, names.DEVICE, body)
        self._ready = True
        self.edge.health(self.routes.account, "up", "Logged in to the homeserver.")

    async def _interrupted(self, error: Exception) -> float | None:
        """What follows from it: how long to wait, None for the usual back-off."""
        reply = error.reply if isinstance(error, _Interrupted) else None
        outcome = outcome_of(reply) if reply is not None else Outcome(names.UNAVAILABLE, retry=True)
        if reply is not None and outcome.code == names.LOGGED_OUT:
            await self.login.lost(soft=(reply.object() or {}).get("soft_logout") is True)
            return 0.0
        self._tell_down(refused=False)
        return outcome.retry_after_s

    def _tell_down(self, *, refused: bool) -> None:
        if refused:
            self.edge.health(self.routes.account, "refused", "The homeserver refuses the log-in.")
        else:
            self.edge.health(self.routes.account, "down", "The homeserver does not answer as it should.")

    # ------------------------------------------------------------ one sync
    async def _sync_once(self) -> None:
        if self._remapped:
            self._remapped = False
            found = await self.rooms.adopt_direct(await self.rooms.direct_rooms())
            self._stale.update(room for _, room in (*self.rooms.mapped(), *found))
        since = self._since
        reply = await self._polled(since)
        if reply is None:
            return
        sync = parsed_sync(reply.body) if reply.ok else None
        if sync is None:
            raise _Interrupted(reply)
        if not self._ready:
            raise _Interrupted(Reply(0))
        entries = [*to_device_entries(sync), *self._news.entries(sync, full=since is None)]
        await self._direct_news(sync)
        for room_id, invited in sync.rooms.invite.items():
            await self._invited(room_id, invited)
        timelines = [entry for item in sync.rooms.join.items() for entry in await self._joined(*item, since)]
        entries += [*(await self._room_entries()), *timelines]
        entries += self._signals.entries(sync, self.rooms.contact_of, self.rooms.contacts)
        fitting = [entry for entry in entries if len(entry[1]) <= MAX_BODY]
        await self.edge.arrived_batch(self.routes.account, fitting, mark=(SINCE_MARK, sync.next_batch))
        self._since = sync.next_batch

    async def _polled(self, since: str | None) -> Reply | None:
        """The answer to `/sync`; None when it was given up because a room was wrongly left out of it."""
        missed = self._wrongly_excluded()
        if missed:
            self._excluded -= missed
            self._fresh |= missed
            self._filter = None
        query = {
            "filter": await self._filter_id(first=since is None),
            "timeout": "0" if self._stale else str(POLL_S * 1000),
            "set_presence": "offline",  # that a gateway listens does not mean that its user is there
        }
        if since is not None:
            query["since"] = since
        path = f"/sync?{urlencode(query)}"
        self._poll = asyncio.create_task(
            self.server.request("GET", path, timeout_s=POLL_S + POLL_GRACE_S, limit=MAX_SYNC)
        )
        try:
            await asyncio.wait([self._poll])
            return None if self._poll.cancelled() else self._poll.result()
        finally:
            self._poll.cancel()
            self._poll = None

    def _wrongly_excluded(self) -> set[str]:
        return {room for _, room in self.rooms.mapped() if room in self._excluded}

    async def _filter_id(self, *, first: bool) -> str:
        """The filter, on the server: a list of rooms can be too long for a query."""
        if self._filter is not None:
            return self._filter
        path = f"/user/{quote(self.server.user, safe='')}/filter"
        wanted = sync_filter(self._excluded, limit=1 if first else TIMELINE_LIMIT, contacts=self.rooms.contacts)
        reply = await self.server.request("POST", path, wanted)
        found = (reply.object() or {}).get("filter_id") if reply.ok else None
        if not isinstance(found, str):
            raise _Interrupted(reply)
        if not first:
            self._filter = found
        return found

    async def _direct_news(self, sync: Sync) -> None:
        for raw in sync.account_data.events:
            event = event_of(raw)
            if event.type == "m.direct":
                try:
                    direct = msgspec.json.decode(event.content, type=dict[str, Any])
                except (ValueError, RecursionError):
                    continue
                for _, room in await self.rooms.adopt_direct(direct):
                    self._stale.add(room)

    async def _invited(self, room_id: str, invited: InvitedRoom) -> None:
        """Join when a mapped contact invites; leave every other invitation to the user."""
        for raw in invited.invite_state.events:
            event = event_of(raw)
            if event.type == "m.room.member" and event.state_key == self.server.user and membership(event) == "invite":
                if event.sender in self.rooms.contacts:
                    outcome = await self.rooms.join(event.sender, room_id)
                    if outcome.retry:
                        raise _Interrupted(Reply(0))
                    self._stale.add(room_id)
                    self._fresh.add(room_id)
                return

    async def _joined(self, room_id: str, room: JoinedRoom, since: str | None) -> list[Entry]:
        """The arrivals of a room that we are in: messages of its timeline, gaps filled."""
        if not await self._is_mapped(room_id, room):
            return []
        if since is None:
            self._stale.add(room_id)
            return []  # what was written before our device existed is encrypted for others
        fresh = room_id in self._fresh or any(_joins(event_of(raw), self.server.user) for raw in room.timeline.events)
        stop = self._stop(room_id, fresh=fresh)
        events = await filled(self.server, room_id, room.timeline, None if fresh else since, stop)
        if any(event_of(raw).type in ROOM_TYPES for raw in (*events, *room.state.events)):
            self._stale.add(room_id)
        own = self.server.user
        read = [(event_of(raw), raw) for raw in events]
        if fresh:
            invited = [number for number, (event, _) in enumerate(read) if _concerns(event, own)]
            read = read[invited[0] :] if invited else read
            self._fresh.discard(room_id)
        if read:
            self._last[room_id] = read[-1][0].event_id
        return [event_entry(room_id, raw) for event, raw in read if _is_message(event) and event.sender != own]

    async def _is_mapped(self, room_id: str, room: JoinedRoom) -> bool:
        """Whether the room is with a mapped contact. All others are left out of the next syncs."""
        if self.rooms.contact_of(room_id) is not None:
            return True
        others = await self.rooms.others(room_id) if room.may_be_direct() else {"more than one"}
        contact = next(iter(others & self.rooms.contacts), None) if len(others) == 1 else None
        if contact is None:
            if others:  # alone: it may be just being made
                self._excluded.add(room_id)
                self._filter = None
            return False
        await self.rooms.adopt(contact, room_id)
        self._stale.add(room_id)
        return True

    def _stop(self, room_id: str, *, fresh: bool) -> Callable[[Event], bool]:
        """Where filling a gap ends: at what was handed on before; in a new room, where we were invited."""
        last, user = self._last.get(room_id), self.server.user

        def stop(event: Event) -> bool:
            invited = fresh and _concerns(event, user) and membership(event) == "invite"
            return invited or event.event_id == last

        return stop

    async def _room_entries(self) -> list[Entry]:
        """The state of rooms that may have changed, when it did."""
        entries: list[Entry] = []
        for contact, room_id in self.rooms.mapped():
            if room_id in self._stale:
                try:
                    body = await self.rooms.state(contact, room_id)
                except RoomUnreadable as error:
                    if error.outcome.retry:
                        raise
                    continue
                if self._told.get(room_id) != body:
                    entries.append((names.ROOM, body))
                    self._told[room_id] = body
        self._stale.clear()
        return entries


def _contacts(routes: AccountRoutes) -> frozenset[str]:
    return frozenset(route.address for route in routes.contacts if route.network == names.NETWORK)


def _is_message(event: Event) -> bool:
    known = event.type in ("m.room.encrypted", "m.room.message") or event.type.startswith("m.key.verification.")
    return known and event.state_key is None


def _concerns(event: Event, user: str) -> bool:
    return event.type == "m.room.member" and event.state_key == user


def _joins(event: Event, user: str) -> bool:
    return _concerns(event, user) and membership(event) == "join"
