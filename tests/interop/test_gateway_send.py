"""`lockgate send` through a running gateway: settings of the configuration reach the enclave, and change with it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from bridge.cli.keygen import make_key
from bridge.ledger.sqlite import SqliteLedger
from rig.lockgate import Lockgate
from rig.prosody import Component, Prosody, XmppAccount
from rig.services import ROOT
from tests.interop.test_client_send import Scene

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

ACCEPTING = "{one_shot: accept, public_keys: [key, hash, none]}"


class Gateway(Lockgate):
    """With one account, whose contact is the echo of the built-in test network."""

    def write(self, component: Component, alice: XmppAccount, esession: str) -> None:
        """The configuration."""
        if not self.config.exists():
            self.secret("component", component.secret)
            make_key(self.folder / "secrets" / "sealing")
        self.config.write_text(
            f"""\
xmpp:
  component: {{jid: {component.jid}, host: {component.host}, port: {component.port}, secret_file: secrets/component}}
accounts:
  alice:
    xmpp: {alice.jid}
    loopback: {{user: alice}}
    contacts: {{echo: {{address: echo, require: none, esession: {esession}}}}}
sealing: {{key_file: secrets/sealing}}
storage: {{url: "sqlite:ledger.db"}}
log: {{format: json}}
"""
        )

    def stages(self) -> list[list[str]]:
        """The stages of each message so far."""
        found = json.loads(self.tell("trace", "--limit", "1000", "--json").output)
        return [[row["stage"] for row in rows] for rows in found]


@pytest_asyncio.fixture
async def scene(prosody: Prosody, tmp_path: Path, unique: Callable[[str], str]) -> AsyncIterator[tuple[Scene, Gateway]]:
    component, alice = prosody.component(), prosody.account(unique("alice"))
    (tmp_path / "gateway").mkdir()
    gateway = Gateway(tmp_path / "gateway")
    gateway.write(component, alice, ACCEPTING)
    bob = XmppAccount(**{**alice.__dict__, "jid": f"echo@{component.jid}"})
    await asyncio.to_thread(gateway.start)
    yield Scene(tmp_path, alice, bob), gateway
    await asyncio.to_thread(gateway.stop)


async def test_a_message_from_a_shell_reaches_the_far_network_and_a_setting_turns_it_off(
    scene: tuple[Scene, Gateway],
) -> None:
    shell, gateway = scene
    status, said = await shell.send("MARKER-77aa")
    assert status == 0, said
    assert "sent, and acknowledged" in said, "by a receipt that is sealed for the shell's key alone"
    stages = await asyncio.to_thread(gateway.stages)
    assert any({"received", "opened", "permitted", "sent"} <= set(message) for message in stages), stages
    assert "MARKER" not in (shell.folder / "trace").read_text()
    text = gateway.config.read_text()
    gateway.config.write_text(text.replace("one_shot: accept", "one_shot: off"))
    os.kill(gateway.pid, signal.SIGHUP)
    await asyncio.sleep(2)
    status, said = await shell.send("refused")
    assert status == 1, said
    assert "lockgate chat" in said


async def chat(shell: Scene, *options: str, text: str) -> tuple[int, str]:
    """`lockgate chat` in a pipe, with one line; its exit status, and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "client.chat", shell.bob.jid, "--account", shell.alice.jid, "--drain-timeout", "8"),
        *("--host", shell.alice.host, "--port", str(shell.alice.port), "--ca-file", str(shell.alice.authority)),
        *("--password-file", str(shell.folder / "password"), "--store", str(shell.folder / f"{text}.store")),
        *("--keys", str(shell.folder / "keys"), *options),
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await asyncio.wait_for(process.communicate(f"{text}\n".encode()), 60)
    return process.returncode or 0, said.decode()


async def test_a_password_and_a_key_that_the_operator_asks_for_are_needed_for_a_session(
    scene: tuple[Scene, Gateway],
) -> None:
    shell, gateway = scene
    for name, text in (("password", shell.alice.password), ("right", "between us"), ("wrong", "between them")):
        (shell.folder / name).write_text(text)
        (shell.folder / name).chmod(0o600)
    gateway.secret("word", "between us")
    text = gateway.config.read_text()
    asked = "{password_file: secrets/word, public_keys: [key], own_key: key}"
    gateway.config.write_text(text.replace(ACCEPTING, asked))
    os.kill(gateway.pid, signal.SIGHUP)  # perhaps while the enclave starts: it must not miss the change
    right = ("--session-password-file", str(shell.folder / "right"))
    status, said = await chat(shell, *right, "--show-key", text="both")
    assert status == 0, said
    assert (await chat(shell, *right, text="no-key"))[0] == 1
    wrong = ("--session-password-file", str(shell.folder / "wrong"), "--show-key")
    assert (await chat(shell, *wrong, text="other"))[0] == 1
    stages = [set(message) for message in await asyncio.to_thread(gateway.stages)]
    assert len([message for message in stages if "acknowledged" in message]) == 1, stages


async def _with_a_parked_input(ledger_path: Path) -> None:
    ledger = SqliteLedger(ledger_path)
    (position,) = await ledger.append_arrivals("alice", "xmpp", [("presence", b"not a snapshot")])
    await ledger.park(position, "raised-value-error")
    await ledger.close()


async def test_the_operator_has_a_parked_input_tried_again(scene: tuple[Scene, Gateway]) -> None:
    _, gateway = scene
    await asyncio.to_thread(gateway.stop)
    await _with_a_parked_input(gateway.ledger)
    await asyncio.to_thread(gateway.start)
    listed = json.loads((await asyncio.to_thread(gateway.tell, "parked", "list", "--json")).output)
    (entry,) = listed["inputs"]
    released = await asyncio.to_thread(gateway.tell, "parked", "release", str(entry["position"]))
    assert (released.status, "1 of 1" in released.output) == (0, True), released.output
    async with asyncio.timeout(10):
        while await asyncio.to_thread(_still_there, gateway, entry["position"]):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


def _still_there(gateway: Gateway, position: int) -> bool:
    found = json.loads(gateway.tell("parked", "list", "--json").output)["inputs"]
    return any(entry["position"] == position for entry in found)
