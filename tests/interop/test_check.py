"""`lockgate check` against real servers: every hop named, the broken one with what to do."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.cli.keygen import make_key
from rig.prosody import Component, Prosody
from rig.services import free_port, quiet_environment
from rig.synapse import MatrixAccount, Synapse

pytestmark = pytest.mark.interop


class Site:
    """A configuration for the rig's servers."""

    def __init__(self, folder: Path, component: Component, user: MatrixAccount) -> None:
        self.folder = folder
        self.component = component
        self.user = user
        self.port = component.port
        self.jid = component.jid
        self.homeserver = user.homeserver
        self.login = "password_file"
        (folder / "secrets").mkdir(mode=0o700)
        self.secret("component", component.secret)
        self.secret("alice", user.password)
        make_key(folder / "secrets" / "sealing")

    def secret(self, name: str, text: str) -> None:
        file = self.folder / "secrets" / name
        file.touch(0o600)
        file.write_text(f"{text}\n")

    def write(self) -> Path:
        file = self.folder / "config.yaml"
        file.write_text(f"""\
xmpp:
  component: {{jid: {self.jid}, port: {self.port}, secret_file: secrets/component}}
matrix: {{homeserver: "{self.homeserver}"}}
accounts:
  alice:
    xmpp: alice@xmpp.localhost
    matrix: {{user: "{self.user.user_id}", {self.login}: secrets/alice}}
    contacts: {{bob: {{address: "@bob:matrix.localhost"}}}}
sealing: {{key_file: secrets/sealing}}
storage: {{url: "sqlite:state/ledger.db"}}
""")
        return file

    def check(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        file = self.write()
        return subprocess.run(
            [sys.executable, "-m", "bridge.cli", "check", "-c", str(file), *arguments],
            capture_output=True,
            text=True,
            env=quiet_environment(),
            timeout=120,
            check=False,
        )

    def hops(self) -> tuple[int, dict[str, tuple[str, str]]]:
        """Exit status; state and words of each hop."""
        done = self.check("--json")
        assert done.stderr == ""
        hops = json.loads(done.stdout)
        return done.returncode, {h["name"]: (h["state"], f"{h['found']} {h['remedy']}") for h in hops}


@pytest.fixture
def site(tmp_path: Path, prosody: Prosody, synapse: Synapse, unique: Callable[[str], str]) -> Site:
    return Site(tmp_path, prosody.component(), synapse.account(unique("check")))


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port of something that accepts, reads, and never answers in XMPP."""
    port = free_port()
    web = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    asyncio.run(_listening(port))
    yield port
    web.kill()
    web.wait()


async def _listening(port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise TimeoutError


def test_everything_that_is_right_is_ok_and_named(site: Site) -> None:
    status, hops = site.hops()
    assert {name: state for name, (state, _) in hops.items()} == {
        "configuration": "ok",
        "secrets": "ok",
        "sealing key": "ok",
        "policy": "ok",
        "state folder": "ok",
        "ledger": "ok",
        "enclave lockdown": "ok",
        "component port": "ok",
        "component secret": "ok",
        "file uploads": "warning",  # this server has none
        "homeserver": "ok",
        "clock": "ok",
        "login alice": "ok",
        "homeserver limits": "ok",
    }
    assert status == 0


def test_it_leaves_no_device_behind(site: Site, synapse: Synapse) -> None:
    site.check()
    token = synapse.login(site.user)
    devices = synapse.call("GET", "/_matrix/client/v3/devices", token=token)["devices"]
    assert len(devices) == 1


def test_a_wrong_component_secret_is_named(site: Site) -> None:
    site.secret("component", "wrong-9c1d")
    status, hops = site.hops()
    assert status == 1
    assert hops["component port"][0] == "ok"
    assert hops["component secret"][0] == "failed"
    assert "does not accept the secret" in hops["component secret"][1]
    assert "wrong-9c1d" not in str(hops)
    assert hops["login alice"][0] == "ok"


def test_a_component_the_server_does_not_know_is_named(site: Site) -> None:
    site.jid = "unknown.localhost"
    _, hops = site.hops()
    assert hops["component secret"][0] == "failed"
    assert "does not know the component" in hops["component secret"][1]
    assert "unknown.localhost" in hops["component secret"][1]


def test_a_component_port_nobody_listens_on_is_named(site: Site) -> None:
    site.port = free_port()
    status, hops = site.hops()
    assert status == 1
    assert hops["component port"][0] == "failed"
    assert str(site.port) in hops["component port"][1]
    assert hops["component secret"][0] == "skipped"


def test_the_port_for_clients_is_recognised_as_the_wrong_one(site: Site, prosody: Prosody) -> None:
    site.port = prosody.c2s_port
    _, hops = site.hops()
    assert hops["component secret"][0] == "failed"
    assert "not for components" in hops["component secret"][1]


def test_a_port_that_does_not_speak_xmpp_is_named(site: Site, deaf_port: int) -> None:
    site.port = deaf_port
    _, hops = site.hops()
    assert hops["component secret"][0] == "failed"
    assert "does not speak XMPP" in hops["component secret"][1]


def test_a_wrong_password_is_named(site: Site) -> None:
    site.secret("alice", "wrong-9c1d")
    status, hops = site.hops()
    assert status == 1
    assert hops["homeserver"][0] == "ok"
    assert hops["login alice"][0] == "failed"
    assert "user or the password" in hops["login alice"][1]
    assert "wrong-9c1d" not in str(hops)


def test_a_homeserver_that_is_down_is_named_and_its_logins_are_not_tried(site: Site) -> None:
    site.homeserver = f"http://127.0.0.1:{free_port()}"
    status, hops = site.hops()
    assert status == 1
    assert hops["homeserver"][0] == "failed"
    assert "nothing listens" in hops["homeserver"][1]
    assert hops["login alice"][0] == hops["clock"][0] == "skipped"


def test_something_that_is_no_homeserver_is_named(site: Site, deaf_port: int) -> None:
    site.homeserver = f"http://127.0.0.1:{deaf_port}"
    _, hops = site.hops()
    assert hops["homeserver"][0] == "failed"
    assert "not as a Matrix homeserver" in hops["homeserver"][1]


def test_https_where_there_is_none_is_named(site: Site) -> None:
    site.homeserver = site.homeserver.replace("http:", "https:")
    _, hops = site.hops()
    assert hops["homeserver"][0] == "failed"
    assert "http:// or https://" in hops["homeserver"][1]


def test_a_token_is_tried_without_logging_out(site: Site, synapse: Synapse) -> None:
    token = synapse.login(site.user)
    site.secret("alice", token)
    site.login = "token_file"
    status, hops = site.hops()
    assert (status, hops["login alice"][0]) == (0, "ok")
    assert synapse.call("GET", "/_matrix/client/v3/account/whoami", token=token)["user_id"] == site.user.user_id


def test_a_token_of_another_user_is_named(site: Site, synapse: Synapse, unique: Callable[[str], str]) -> None:
    site.secret("alice", synapse.login(synapse.account(unique("mallory"))))
    site.login = "token_file"
    _, hops = site.hops()
    assert hops["login alice"][0] == "failed"
    assert "mallory" in hops["login alice"][1]


def test_an_invalid_token_is_named(site: Site) -> None:
    site.secret("alice", "syt_wrong_9c1d")
    site.login = "token_file"
    _, hops = site.hops()
    assert hops["login alice"][0] == "failed"
    assert "token" in hops["login alice"][1]
    assert "9c1d" not in str(hops)


def test_a_pipe_gets_one_plain_line_per_hop(site: Site) -> None:
    done = site.check()
    lines = done.stdout.splitlines()
    assert "\x1b" not in done.stdout
    assert lines[0].split() == ["ok", "configuration", str(site.folder / "config.yaml")]
    assert lines[-1] == "All hops work."
    assert len(lines) == 16


def test_a_running_gateway_keeps_its_connection_and_is_asked(site: Site) -> None:
    site.write()
    command = [sys.executable, "-m", "bridge.cli", "run", "-c", str(site.folder / "config.yaml")]
    with (site.folder / "run.log").open("wb") as log:
        gateway = subprocess.Popen(command, stdout=log, stderr=log, env=quiet_environment())
    try:
        hops = _when_up(site)
    finally:
        gateway.terminate()
        assert gateway.wait(60) == 0
    assert hops["running gateway"][0] == "ok"
    assert hops["component"][0] == "ok"
    assert "component secret" not in hops
    assert "failed" not in {state for state, _ in hops.values()}
    log_text = (site.folder / "run.log").read_text()
    assert "lost" not in log_text


def _when_up(site: Site) -> dict[str, tuple[str, str]]:
    """The hops, once the gateway's component is connected."""
    for _ in range(60):
        _, hops = site.hops()
        if hops.get("component", ("", ""))[0] == "ok":
            return hops
        time.sleep(0.5)
    raise TimeoutError((site.folder / "run.log").read_text())
