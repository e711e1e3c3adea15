"""One account's connection: logged in, syncing, carrying requests; it repairs itself until it is closed."""

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

from adapters.matrix import names
from adapters.matrix.outside_feed import Feed
from adapters.matrix.outside_history import Bounds, GapUnfilled, Place
from adapters.matrix.outside_limits import Limits
from adapters.matrix.outside_login import Login, LoginFailed
from adapters.matrix.outside_profiles import Profiles
from adapters.matrix.outside_reading import Reader
from adapters.matrix.outside_requests import LOOKUPS, MOMENTARY, http_request
from adapters.matrix.outside_room_state import RoomUnreadable
from adapters.matrix.outside_rooms import Rooms
from adapters.matrix.outside_session_login import login_of
from adapters.matrix.outside_sync import OVERVIEW, TIMELINE_LIMIT, parsed_sync, sync_filter
from adapters.matrix.transport import MAX_SYNC, OVERSIZE, Homeserver, Reply, outcome_of
from adapters.outside_api import AccountRoutes, Edge, Outcome
from bridge.wire.link import Carry

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
    _listed: frozenset[str] | None = None
    _filter: str | None = None
    _poll: "asyncio.Task[Reply] | None" = None
    _remapped: bool = True
    _limits: Limits = field(default_factory=Limits)
    _refusals: int = 0
    bounds: Bounds = field(default_factory=Bounds, kw_only=True)
    _reader: Reader = field(init=False)
    _profiles: Profiles = field(init=False)
    _presence: str = "offline"

    def __post_init__(self) -> None:
        credentials = self.routes.credentials.get(names.NETWORK, {})
        self.login = login_of(self.routes.account, self.edge, self.server, credentials)
        self.rooms = Rooms(self.routes.account, self.edge, self.server, _contacts(self.routes))
        self._reader = Reader(self.rooms, Feed(self.server, self.bounds))
        self._profiles = Profiles(self.routes.account, self.edge, self.server)

    @classmethod
    def of(cls, routes: AccountRoutes, edge: Edge, settings: Mapping[str, str]) -> "MatrixAccount":
        """The account that these routes describe."""
        credentials = routes.credentials.get(names.NETWORK, {})
        url = credentials.get("homeserver") or settings["homeserver"]
        return cls(routes, edge, Homeserver(url, routes.far_addresses[names.NETWORK]), bounds=Bounds.of(settings))

    def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.create_task(self._run())

    def remap(self, routes: AccountRoutes) -> None:
        """The operator changed the contacts."""
        self.routes = routes
        self.rooms.contacts = _contacts(routes)
        self._remapped = True

    async def close(self) -> None:
        """End the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._profiles.close()
        await self.login.settled()
        await self.server.close()

    @property
    def reachable(self) -> Homeserver | None:
        """The homeserver, while we are logged in."""
        return self.server if self._ready else None

    # ------------------------------------------------------------ requests of the enclave
    async def carry(self, request: Carry) -> Outcome:
        """Carry one request out."""
        if not self._ready:
            return NOT_READY if request.request not in MOMENTARY else Outcome(names.UNAVAILABLE)
        token = self.server.client.access_token
        outcome = await self._limits.through(request.request, lambda: self._carried(request))
        if request.request in MOMENTARY:
            outcome = replace(outcome, retry=False)  # the next moment it is not true any more
        return self._noted(outcome) if token == self.server.client.access_token else outcome  # it was just exchanged

    async def _carried(self, request: Carry) -> Outcome:
        values: dict[str, Any] = {name: value.v for name, value in request.values.items()}
        if request.request == names.ROOM_OBTAIN:
            outcome = await self.rooms.obtain(values["contact"], values.get("avoid"))
            if self._poll is not None and self._listed != self._mapped():
                self._poll.cancel()
            return outcome
        if request.request == names.SIGNING_KEYS_UPLOAD:
            return await self.login.authorised("/keys/device_signing/upload", values["body"])
        if request.request == names.PRESENCE_PUT:
            self._presence = values["presence"]
        method, path, body = http_request(request.request, request.key, values, self.server.user)
        reply = await self.server.request(method, path, body)
        if reply.status == OVERSIZE and request.request in (names.KEYS_QUERY, names.KEYS_CLAIM):
            return Outcome(names.TOO_LARGE)  # it would be as large the next time
        outcome = outcome_of(reply)
        looked_up = request.request in LOOKUPS and outcome.code == names.NOT_FOUND
        return replace(outcome, expected=True) if looked_up else outcome

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
        place = Place.decoded(await self.edge.mark(self.routes.account, SINCE_MARK))
        self._since = place.since
        self._reader.resume(place)
        while True:
            delay = None
            try:
                await self._log_in()
                while await self.login.freshen():
                    await self._sync_once()
                    failures = 0
            except LoginFailed as error:
                self._tell_down(error.detail if error.final else None)
                delay = error.retry_after_s or (LONGEST_BACKOFF_S if error.final else None)
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
        told: dict[str, object] = {"user_id": self.server.user, "device_id": device}
        if self.login.forgotten:
            told["forgotten"] = True
        await self.edge.arrived(self.routes.account, names.DEVICE, json.dumps(told).encode(), mark=self.login.mark())
        self._ready = True
        self.edge.health(self.routes.account, "up", self.login.news or "Logged in to the homeserver.")

    async def _interrupted(self, error: Exception) -> float | None:
        """What follows from it: how long to wait, None for the usual back-off."""
        reply = error.reply if isinstance(error, _Interrupted | GapUnfilled) else None
        outcome = outcome_of(reply) if reply is not None else Outcome(names.UNAVAILABLE, retry=True)
        if isinstance(error, RoomUnreadable):
            outcome = error.outcome
        if reply is not None and outcome.code == names.LOGGED_OUT:
            await self.login.lost(soft=(reply.object() or {}).get("soft_logout") is True)
            return 0.0
        self._tell_down()
        return outcome.retry_after_s

    def _tell_down(self, refused: str | None = None) -> None:
        if refused is not None:
            self.edge.health(self.routes.account, "refused", refused)
        else:
            self.edge.health(self.routes.account, "down", "The homeserver does not answer as it should.")

    # ------------------------------------------------------------ one sync
    async def _sync_once(self) -> None:
        if self._remapped:
            await self._look_around()
        for room_id in await self.rooms.join_waiting():
            self._reader.entered(room_id)
        since = self._since
        reply = await self._polled(since)
        if reply is None:
            return
        sync = parsed_sync(reply.body) if reply.ok else None
        if sync is None:
            self._refused(reply)
            raise _Interrupted(reply)
        self._refusals = 0
        if not self._ready:
            raise _Interrupted(Reply(0))
        entries = await self._reader.read(sync, since)
        place = self._reader.place(sync)
        await self.edge.arrived_batch(self.routes.account, entries, mark=(SINCE_MARK, place.encoded()))
        self._since, self._reader.lost = sync.next_batch, False
        self._profiles.look(sync, self.rooms.contacts)

    async def _look_around(self) -> None:
        """The map is new to us: find the rooms of its contacts, with what is shown and written in them from now on."""
        found = await self.rooms.adopt_direct(await self.rooms.direct_rooms())
        self._reader.stale.update(room for _, room in (*self.rooms.mapped(), *found))
        if self._since is not None and any(not self.rooms.known.get(contact) for contact in self.rooms.contacts):
            reply = await self.server.request("GET", f"/sync?{urlencode({'filter': OVERVIEW})}", limit=MAX_SYNC)
            sync = parsed_sync(reply.body) if reply.ok else None
            if sync is None:
                raise _Interrupted(reply)
            await self._reader.look_over(sync)
        self._listed = None
        self._remapped = False

    def _refused(self, reply: Reply) -> None:
        """The server may have lost our filter, or our place, with its database: do without, one after the other."""
        if 400 <= reply.status < 500 and outcome_of(reply).code in (names.REJECTED, names.NOT_FOUND):
            self._refusals += 1
            self._filter = None
            if self._refusals > 1 and self._since is not None:
                self._since = None
                self._reader.lose_place()

    def _mapped(self) -> frozenset[str]:
        return frozenset(room for _, room in self.rooms.mapped())

    async def _polled(self, since: str | None) -> Reply | None:
        """The answer to `/sync`; None when it was given up because a room was missing in its filter."""
        mapped = self._mapped()
        if mapped != self._listed:
            if self._listed is not None and since is not None:
                self._reader.missed(mapped - self._listed)
            self._listed, self._filter = mapped, None
        query = {
            "filter": await self._filter_id(first=since is None),
            "timeout": "0" if self._reader.stale else str(self._patience_s() * 1000),
            "set_presence": self._presence,  # that a gateway listens does not mean that its user is there
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

    def _patience_s(self) -> int:
        """How long the homeserver may wait before it answers that there is nothing new."""
        return POLL_S

    async def _filter_id(self, *, first: bool) -> str:
        """The filter, on the server: a list of rooms can be too long for a query."""
        if self._filter is not None:
            return self._filter
        path = f"/user/{quote(self.server.user, safe='')}/filter"
        wanted = sync_filter(self._listed or (), limit=1 if first else TIMELINE_LIMIT, contacts=self.rooms.contacts)
        reply = await self.server.request("POST", path, wanted)
        found = (reply.object() or {}).get("filter_id") if reply.ok else None
        if not isinstance(found, str):
            raise _Interrupted(reply)
        if not first:
            self._filter = found
        return found


def _contacts(routes: AccountRoutes) -> frozenset[str]:
    return frozenset(route.address for route in routes.contacts if route.network == names.NETWORK)
