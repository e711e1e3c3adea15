"""Logging in to real servers: Synapse with its own logins, and Synapse that delegates them to an OAuth 2.0 server."""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapters.matrix import outside_account
from adapters.matrix.outside_session import read_session
from adapters.matrix.outside_session_login import ENDED, FORGOTTEN, NOT_YET
from rig.lockgate import SCRIPT, Lockgate, Tenant
from rig.oidc.provider import Browser, DelegatingSynapse, Provider
from rig.prosody import Prosody
from rig.services import ROOT, ServiceFailed, quiet_environment
from rig.synapse import MatrixAccount, Synapse
from tests.interop.matrix_gateway import MatrixGateway, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

TOKEN_S = 4


class ShortSynapse(Synapse):
    """A homeserver whose access tokens last seconds, and whose logins last little longer."""

    def _config(self) -> dict[str, Any]:
        lifetimes = {
            "refreshable_access_token_lifetime": "2s",
            "refresh_token_lifetime": "5s",
            "session_lifetime": "9s",
        }
        return {**super()._config(), **lifetimes}


@dataclass
class Delegated:
    """A homeserver and the server that its users log in to."""

    synapse: DelegatingSynapse
    provider: Provider


@pytest.fixture(scope="module")
def delegated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delegated]:
    """Both, for all tests here."""
    folder = tmp_path_factory.mktemp("delegated")
    provider = Provider(folder / "oidc", access_token_s=TOKEN_S)
    synapse = DelegatingSynapse(folder / "synapse", provider)
    with provider, synapse:
        yield Delegated(synapse, provider)


class Site(Lockgate):
    """A gateway whose accounts log in by OAuth 2.0."""

    def _account(self, tenant: Tenant) -> dict[str, Any]:
        login = {"user": tenant.matrix.user_id, "session_file": f"secrets/{tenant.name}-session"}
        return {**super()._account(tenant), "matrix": login}

    def session_file(self, name: str) -> Path:
        """Where the tokens of an account are."""
        return self.folder / "secrets" / f"{name}-session"

    def log_in(self, name: str, *options: str) -> "LoggingIn":
        """Run `lockgate matrix login`."""
        return LoggingIn([str(SCRIPT), "matrix", "login", name, "-c", str(self.config), *options])


class LoggingIn:
    """A command that waits for somebody to agree in a browser."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=quiet_environment(),
            cwd=ROOT,
            text=True,
        )
        self.output = ""
        self.url = self._until("http")
        self.code = self._until("The code to type there:").partition(":")[2].strip()

    def _until(self, part: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.output += line
            if line.strip().startswith(part):
                return line.strip()
        raise ServiceFailed(f"lockgate matrix login ended: {self.output}")

    def ended(self) -> int:
        """The exit status."""
        rest, _ = self._process.communicate(timeout=60)
        self.output += rest
        return self._process.returncode


async def logged_in(site: Site, name: str, browser: Browser, *options: str) -> str:
    """A login that succeeds; returns what the command printed."""
    command = await asyncio.to_thread(site.log_in, name, *options)
    assert "Success" in await asyncio.to_thread(browser.approve, command.url, command.code)
    assert await asyncio.to_thread(command.ended) == 0, command.output
    return command.output


class Scene:
    """Alice, who logs in by OAuth 2.0, with a site of her own."""

    def __init__(self, site: Site, servers: Delegated, prosody: Prosody, user: str) -> None:
        self.site, self.servers = site, servers
        self.account: MatrixAccount = servers.synapse.account(user)
        self.browser = Browser(user)
        self.file = site.session_file("alice")
        tenant = Tenant("alice", prosody.account(user), self.account, {"bob": "@bob:other.example"})
        site.configure(prosody.component(), servers.synapse.url, [tenant])

    def gateway(self) -> MatrixGateway:
        """Both halves of the adapter, for this account."""
        contact = f"@nobody:{self.servers.synapse.server_name}"
        return MatrixGateway(self.account.user_id, (contact,), self.servers.synapse.url, {"session": str(self.file)})

    def token(self) -> str:
        """The access token of now."""
        session = read_session(self.file)
        assert session is not None
        return session.access_token

    def device_keys(self) -> dict[str, Any]:
        """The keys of all devices of Alice as the homeserver gives them, once the devices are cross-signed."""
        path = "/_matrix/client/v3/keys/query"
        body: dict[str, Any] = {"device_keys": {self.account.user_id: []}}
        try:
            other = self.servers.synapse.call("POST", path, body, self.token())
        except ServiceFailed:
            return {}  # the token has just run out
        signing = other.get("self_signing_keys", {}).get(self.account.user_id, {}).get("keys", {})
        devices = other["device_keys"].get(self.account.user_id, {})
        return {
            name: device["keys"]
            for name, device in devices.items()
            if signing.keys() & device["signatures"][self.account.user_id].keys()
        }


@pytest.fixture(autouse=True)
def short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A homeserver that is asked often notices soon that a token ran out."""
    monkeypatch.setattr(outside_account, "POLL_S", 1)


@pytest.fixture
def scene(short_path: Path, delegated: Delegated, prosody: Prosody, unique: Callable[[str], str]) -> Iterator[Scene]:
    """Alice and her site."""
    made = Scene(Site(short_path), delegated, prosody, unique("oauth"))
    yield made
    made.site.stop()


@pytest_asyncio.fixture
async def gateway(scene: Scene) -> AsyncIterator[MatrixGateway]:
    """A gateway of Alice's, who has logged in."""
    await logged_in(scene.site, "alice", scene.browser)
    made = scene.gateway()
    await made.start()
    yield made
    await made.stop()


async def published(scene: Scene) -> dict[str, Any]:
    """The device keys, once there are some."""
    async with asyncio.timeout(30):
        while not (found := await asyncio.to_thread(scene.device_keys)):  # noqa: ASYNC110 - the server has to be asked
            await asyncio.sleep(0.1)
    return found


def devices(gateway: MatrixGateway) -> set[str]:
    """As which devices it was logged in."""
    return {json.loads(body)["device_id"] for name, body in gateway.arrivals if name == "device"}


# ---------------------------------------------------------------- OAuth 2.0
async def test_the_operator_agrees_in_a_browser_and_the_gateway_is_logged_in_as_the_device_that_was_asked_for(
    scene: Scene,
) -> None:
    output = await logged_in(scene.site, "alice", scene.browser, "--device", "ALICESGATE")
    session = read_session(scene.file)
    assert session is not None
    assert session.device_id == "ALICESGATE"
    assert scene.file.stat().st_mode & 0o777 == 0o600
    assert session.access_token not in output
    assert session.refresh_token
    assert session.refresh_token not in output
    gateway = scene.gateway()
    await gateway.start()
    try:
        assert set(await published(scene)) == {"ALICESGATE"}
        assert gateway.states[-1] == "up"
        assert session.access_token not in repr(gateway.outside.__dict__) + repr(gateway.routes) + repr(session)
    finally:
        await gateway.stop()


async def test_tokens_that_last_seconds_are_exchanged_and_the_device_stays(
    scene: Scene, gateway: MatrixGateway
) -> None:
    before = read_session(scene.file)
    assert before is not None
    keys = await published(scene)
    seen = set()

    def exchanged() -> bool:
        seen.add(scene.token())
        return len(seen) >= 4

    await until(exchanged, timeout_s=30)
    after = read_session(scene.file)
    assert after is not None
    assert after.refresh_token != before.refresh_token
    assert (after.device_id, after.grant, after.client_id) == (before.device_id, before.grant, before.client_id)
    await gateway.stop()
    await asyncio.sleep(TOKEN_S + 1)  # the token of the file runs out while nobody exchanges it
    await gateway.start()
    await until(lambda: gateway.states[-1] == "up")
    assert await published(scene) == keys
    assert "refused" not in gateway.states


async def test_a_login_that_its_user_ended_is_told_and_made_again_while_the_gateway_runs(
    scene: Scene, gateway: MatrixGateway
) -> None:
    keys = await published(scene)
    await asyncio.to_thread(scene.servers.provider.end, scene.token(), device=False)
    await until(lambda: gateway.details[-1] == ENDED, timeout_s=60)
    await logged_in(scene.site, "alice", scene.browser)
    await until(lambda: gateway.states[-1] == "up", timeout_s=60)
    assert await published(scene) == keys
    assert gateway.details[-1] != FORGOTTEN
    assert devices(gateway) == set(keys)


async def test_a_device_that_the_homeserver_removed_publishes_its_keys_anew_after_the_next_login(
    scene: Scene, gateway: MatrixGateway
) -> None:
    keys = await published(scene)
    await asyncio.to_thread(scene.servers.provider.end, scene.token(), device=True)
    await until(lambda: gateway.details[-1] == ENDED, timeout_s=60)
    await logged_in(scene.site, "alice", scene.browser)
    await until(lambda: gateway.details[-1] == FORGOTTEN, timeout_s=60)
    assert await published(scene) == keys
    assert devices(gateway) == set(keys)


async def test_an_answer_with_new_tokens_that_was_lost_ends_the_login_where_the_server_forgives_nothing(
    scene: Scene, gateway: MatrixGateway
) -> None:
    await published(scene)
    await asyncio.to_thread(scene.servers.provider.lose, 1)
    await until(lambda: gateway.details[-1] == ENDED, timeout_s=60)


async def test_a_running_gateway_waits_for_the_login_and_takes_it_over(scene: Scene) -> None:
    await scene.site.begin()
    await until_health(scene.site, "refused", NOT_YET)
    ended = await asyncio.to_thread(scene.site.tell, "check")
    assert "login alice" in ended.output
    assert "lockgate matrix login alice" in ended.output
    await logged_in(scene.site, "alice", scene.browser)
    await until_health(scene.site, "up", "Logged in")
    ended = await asyncio.to_thread(scene.site.tell, "check")
    assert f"{scene.account.user_id} is logged in" in ended.output
    log = scene.site.log.read_text()
    session = read_session(scene.file)
    assert session is not None
    assert session.access_token not in log
    assert str(session.refresh_token) not in log


async def until_health(site: Site, state: str, detail: str) -> None:
    """Return once the gateway says that of its Matrix login."""
    async with asyncio.timeout(60):
        while True:
            ended = await asyncio.to_thread(site.tell, "status", "--json")
            words = json.loads(ended.output)["health"] if ended.status == 0 else []
            if any(w["network"] == "matrix" and w["state"] == state and detail in w["detail"] for w in words):
                return
            await asyncio.sleep(0.3)


async def test_somebody_who_refuses_or_is_somebody_else_changes_nothing(scene: Scene) -> None:
    await logged_in(scene.site, "alice", scene.browser)
    before = scene.file.read_bytes()
    command = await asyncio.to_thread(scene.site.log_in, "alice")
    await asyncio.to_thread(scene.browser.refuse, command.url, command.code)
    assert await asyncio.to_thread(command.ended) == 1
    assert "refused in the browser" in command.output
    mallory = await asyncio.to_thread(scene.servers.synapse.account, scene.account.localpart + "x")
    command = await asyncio.to_thread(scene.site.log_in, "alice")
    await asyncio.to_thread(Browser(mallory.localpart).approve, command.url, command.code)
    assert await asyncio.to_thread(command.ended) == 1
    assert f"somebody else agreed in the browser: {mallory.user_id}" in command.output
    assert scene.file.read_bytes() == before


async def test_a_homeserver_with_logins_of_its_own_is_told(
    short_path: Path, synapse: Synapse, prosody: Prosody, unique: Callable[[str], str]
) -> None:
    site = Site(short_path)
    account = synapse.account(unique("own"))
    tenant = Tenant("alice", prosody.account(unique("own")), account, {"bob": "@bob:other.example"})
    site.configure(prosody.component(), synapse.url, [tenant])
    ended = await asyncio.to_thread(site.tell, "matrix", "login", "alice")
    assert ended.status == 1, ended.output
    assert "does not delegate its logins" in ended.output
    assert "password_file" in ended.output


# ---------------------------------------------------------------- a homeserver's own logins
async def test_tokens_and_logins_that_end_are_renewed_and_the_device_stays(
    tmp_path: Path, unique: Callable[[str], str]
) -> None:
    with ShortSynapse(tmp_path / "synapse") as synapse:
        account = synapse.account(unique("soft"))
        gateway = MatrixGateway(
            account.user_id, ("@nobody:matrix.localhost",), synapse.url, {"password": account.password}
        )
        tokens, refreshes = set(), set()

        def renewed() -> bool:
            tokens.add(gateway.marks.get("token"))
            refreshes.add(gateway.marks.get("refresh"))
            return time.monotonic() > since + 14

        since = time.monotonic()
        await gateway.start()
        try:
            await until(renewed, timeout_s=40)
            assert len(devices(gateway)) == 1
            assert len(tokens) > 4
            assert len(refreshes) > 2
            await until(lambda: gateway.states[-1] == "up")
            asked = synapse.log.read_text()
            assert "/refresh" in asked
            assert asked.count('"POST /_matrix/client/v3/login') >= 2, "the session's end needs the password once more"
        finally:
            await gateway.stop()
