"""Probes of `lockgate check` that need no server of somebody else."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bridge.config.load import Loaded, load
from bridge.config.models import Component, MatrixLogin
from bridge.ledger.sqlite import SqliteLedger
from bridge.probe.component import probe_component
from bridge.probe.homeserver import probe_login, probe_server
from bridge.probe.hop import Hop, State
from bridge.probe.host import probe_folder, probe_ledger, probe_lockdown
from bridge.probe.http import Homeserver
from bridge.probe.journey import probe_all
from tests.unit.config_site import Site

Replies = dict[str, Callable[[web.Request], web.Response]]
Serve = Callable[[Replies], Awaitable[str]]


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    site = Site(tmp_path)
    site.change(
        ("sqlite:///var/lib/lockgate/ledger.db", "sqlite:state/ledger.db"),
        ("https://matrix.example.org", "http://127.0.0.1:9"),
    )
    return load(site.file)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves replies by path on loopback; returns the base URL."""
    runners: list[web.AppRunner] = []

    async def start(replies: Replies) -> str:
        async def answer(request: web.Request) -> web.Response:
            reply = replies.get(request.path)
            return reply(request) if reply else web.json_response({"errcode": "M_UNRECOGNIZED"}, status=404)

        application = web.Application()
        application.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


def versions(offset_s: float) -> Replies:
    def reply(_request: web.Request) -> web.Response:
        at = datetime.now(UTC) + timedelta(seconds=offset_s)
        headers = {"Date": format_datetime(at, usegmt=True)}
        return web.json_response({"versions": ["v1.9", "v1.11", "r0.6.1"]}, headers=headers)

    return {"/_matrix/client/versions": reply}


async def server_hops(url: str) -> dict[str, Hop]:
    async with Homeserver(url) as server:
        return {hop.name: hop for hop in await probe_server(server)}


@pytest.mark.parametrize(
    ("offset_s", "state", "words"),
    [(0, "ok", "within"), (-300, "warning", "ahead of"), (300, "warning", "behind"), (30, "ok", "within")],
)
async def test_a_clock_that_is_far_off_is_a_warning(serve: Serve, offset_s: float, state: str, words: str) -> None:
    hops = await server_hops(await serve(versions(offset_s)))
    assert (hops["homeserver"].state, hops["clock"].state) == ("ok", state)
    assert words in hops["clock"].found
    assert "v1.11" in hops["homeserver"].found


async def test_a_domain_that_delegates_elsewhere_is_told_where(serve: Serve) -> None:
    pointer = {"m.homeserver": {"base_url": "https://matrix.example.org/"}}
    hops = await server_hops(await serve({"/.well-known/matrix/client": lambda _: web.json_response(pointer)}))
    assert hops["homeserver"].state == "failed"
    assert "it says its homeserver is at https://matrix.example.org;" in hops["homeserver"].remedy.lower()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"versions": 5}', b'{"versions": []}', b"[" * 100_000])
async def test_an_absurd_answer_is_no_homeserver(serve: Serve, body: bytes) -> None:
    hops = await server_hops(await serve({"/_matrix/client/versions": lambda _: web.Response(body=body)}))
    assert hops["homeserver"].state == "failed"


async def test_a_redirect_is_not_followed(serve: Serve) -> None:
    good = await serve(versions(0))

    def away(_request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{good}/_matrix/client/versions"})

    hops = await server_hops(await serve({"/_matrix/client/versions": away}))
    assert hops["homeserver"].state == "failed"


FLOWS = {"/_matrix/client/v3/login": lambda _: web.json_response({"flows": [{"type": "m.login.sso"}]})}
LOGIN = MatrixLogin(user="@alice:example.org")


async def login_hops(url: str, given: dict[str, str]) -> list[Hop]:
    async with Homeserver(url) as server:
        return await probe_login(server, "alice", LOGIN, given)


async def test_a_homeserver_without_passwords_asks_for_a_token(serve: Serve) -> None:
    (hop,) = await login_hops(await serve(dict(FLOWS)), {"password": "x"})
    assert hop.state == "failed"
    assert "token_file" in hop.remedy


def _login(status: int, body: dict[str, Any]) -> Replies:
    def reply(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response({"flows": [{"type": "m.login.password"}]})
        return web.json_response(body, status=status)

    return {"/_matrix/client/v3/login": reply}


async def test_too_many_logins_are_a_warning_with_the_time_to_wait(serve: Serve) -> None:
    replies = _login(429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 4200})
    (hop,) = await login_hops(await serve(replies), {"password": "x"})
    assert hop.state == "warning"
    assert "in 5 seconds" in hop.remedy


async def test_a_login_as_somebody_else_is_refused_and_logged_out(serve: Serve) -> None:
    out: list[str] = []

    def logout(request: web.Request) -> web.Response:
        out.append(request.headers["Authorization"])
        return web.json_response({})

    replies = _login(200, {"access_token": "T", "user_id": "@bob:example.org"})
    replies["/_matrix/client/v3/logout"] = logout
    hop, *_ = await login_hops(await serve(replies), {"password": "x"})
    assert hop.state == "failed"
    assert "@bob:example.org" in hop.found
    assert out == ["Bearer T"]


async def test_a_token_without_a_device_is_of_no_use(serve: Serve) -> None:
    replies: Replies = {
        "/_matrix/client/v3/account/whoami": lambda _: web.json_response({"user_id": "@alice:example.org"})
    }
    (hop,) = await login_hops(await serve(replies), {"token": "T"})
    assert hop.state == "failed"
    assert "no device" in hop.found


# ---------------------------------------------------------------- the component's port
async def component_hops(reply: bytes, *, hold: bool = False) -> dict[str, Hop]:
    """What the probe says of a server that answers so to whatever comes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(reply)
        await writer.drain()
        if hold:
            await reader.read(4096)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    component = Component.model_construct(jid="x.org", host="127.0.0.1", port=port, secret_file=Path("x"))
    async with server:
        return {hop.name: hop for hop in await probe_component(component, "secret-5a1e")}


OPEN = b"<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' id='1'>"
ERROR = b"<stream:error><%s xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (OPEN + ERROR % b"not-authorized", "does not accept the secret"),
        (OPEN + ERROR % b"conflict", "another program is connected"),
        (OPEN + ERROR % b"host-unknown", "does not know the component"),
        (OPEN + ERROR % b"reset", "refuses the connection"),
        (OPEN, "refuses the connection"),
        (b"", "refuses the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak XMPP"),
        (b"<!DOCTYPE x [<!ENTITY a 'a'>]>" + OPEN, "does not speak XMPP"),
        (b"<a>" * 40_000, "does not speak XMPP"),
        (b"\0\0\0", "does not speak XMPP"),
    ],
)
async def test_whatever_answers_at_the_port_is_named(reply: bytes, words: str) -> None:
    hops = await component_hops(reply)
    assert hops["component secret"].state == "failed"
    assert words in hops["component secret"].found
    assert "5a1e" not in str(hops)


async def test_an_accepted_handshake_is_ok() -> None:
    hops = await component_hops(OPEN + b"<handshake/>", hold=True)
    assert {hop.state for hop in hops.values()} == {State.OK}


# ---------------------------------------------------------------- this machine
def test_folders_that_do_not_exist_yet_are_ok_when_they_can_be_made(loaded: Loaded) -> None:
    assert probe_folder(loaded.config).state == "ok"
    assert "will be made" in probe_ledger(loaded.config).found


def test_a_file_where_a_folder_belongs_is_named(loaded: Loaded) -> None:
    loaded.config.runtime_dir.write_text("")
    assert probe_folder(loaded.config).state == "failed"


def test_a_folder_that_others_may_write_is_a_warning(loaded: Loaded) -> None:
    loaded.config.runtime_dir.mkdir()
    loaded.config.runtime_dir.chmod(0o777)
    assert probe_folder(loaded.config).state == "warning"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(loaded: Loaded) -> None:
    loaded.config.runtime_dir.mkdir(mode=0o500)
    assert probe_folder(loaded.config).state == "failed"


async def test_a_ledger_in_use_is_looked_at_without_disturbing_it(loaded: Loaded) -> None:
    ledger = SqliteLedger(loaded.config.storage.path)
    await ledger.append_arrivals("alice", "matrix", [("event", b"x")])
    hop = probe_ledger(loaded.config)
    await ledger.close()
    assert hop.state == "ok"
    assert "1 waiting" in hop.found


def test_a_file_that_is_no_ledger_is_named(loaded: Loaded) -> None:
    path = loaded.config.storage.path
    path.parent.mkdir()
    path.write_text("x" * 5000)
    assert probe_ledger(loaded.config).state == "failed"


async def test_lockdown_is_tried_in_a_process_of_its_own(loaded: Loaded) -> None:
    hop = await probe_lockdown(loaded.config)
    assert hop.state == "ok"
    assert "measures work here" in hop.found


async def _hops(loaded: Loaded, status: dict[str, Any] | None) -> dict[str, Hop]:
    return {hop.name: hop async for hop in probe_all(loaded, status)}


async def test_a_running_gateway_is_asked_about_its_component_instead_of_disturbed(loaded: Loaded) -> None:
    health = [{"network": "xmpp", "account": None, "state": "up", "detail": "connected"}]
    hops = await _hops(loaded, {"health": health})
    assert hops["component"].state == "ok"
    assert "component port" not in hops
    health[0]["state"] = "refused"
    assert (await _hops(loaded, {"health": health}))["component"].state == "failed"
