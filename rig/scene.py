"""The whole scene of the main job: two servers, the gateway between them, Alice on one side, Bob on the other."""

import asyncio
import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rig.alice import Alice
from rig.bob.client import Bob
from rig.lines import ClientFailed
from rig.lockgate import Lockgate, Tenant
from rig.services import ROOT, ServiceFailed
from rig.synapse import Synapse
from rig.tap import Tap
from rig.xmpp import XmppServer

Progress = Callable[[str], None]


def _silent(_text: str) -> None:
    pass


class Scene:
    """Alice (XMPP) and Bob (Matrix) with a gateway of their own, on servers that may be shared.

    Taps stand between the gateway and each server, and between Bob and his: what passed is kept.
    """

    def __init__(
        self, folder: Path, xmpp: XmppServer, synapse: Synapse, *, suffix: str = "", keep_keys: bool = False
    ) -> None:
        self.folder, self.xmpp, self.synapse = folder, xmpp, synapse
        self.content: Mapping[str, Any] = {}
        """What may pass beside text, for the configuration."""
        self.omemo: Mapping[str, Any] = {}
        """Settings of OMEMO, for the configuration."""
        self.component = xmpp.component()
        self.alice_account = xmpp.account(f"alice{suffix}")
        self.alice_matrix = synapse.account(f"alice{suffix}")
        self.bob_account = synapse.account(f"bob{suffix}")
        self.lockgate = Lockgate(folder / "lockgate")
        self.alice = Alice(folder / "alice", self.alice_account, f"bob@{self.component.jid}", keep_keys=keep_keys)
        self.bob = Bob(folder / "bob")
        self.xmpp_tap, self.matrix_tap = Tap(self.component.port), Tap(synapse.port)

    async def prepare(self) -> None:
        """Start the taps and write the gateway's configuration."""
        await asyncio.gather(self.xmpp_tap.start(), self.matrix_tap.start())
        contacts = {"bob": self.bob_account.user_id}
        tenant = Tenant(
            "alice", self.alice_account, self.alice_matrix, contacts, content=self.content, omemo=self.omemo
        )
        tapped = dataclasses.replace(self.component, port=self.xmpp_tap.port)
        self.lockgate.configure(tapped, f"http://127.0.0.1:{self.matrix_tap.port}", [tenant])

    async def check(self) -> str:
        """Run `lockgate check`; returns what it said, raises when it found something wrong."""
        ended = await asyncio.to_thread(self.lockgate.tell, "check")
        if ended.status != 0:
            raise ServiceFailed(f"lockgate check found something wrong:\n{ended.output}")
        return ended.output

    async def log_in_bob(self) -> None:
        """Bob's client, through the tap. It shuts out devices that their owner did not sign."""
        await self.bob.start()
        tapped = dataclasses.replace(self.bob_account, homeserver=f"http://127.0.0.1:{self.matrix_tap.port}")
        await self.bob.login(tapped, strict=True)

    async def open(self, progress: Progress = _silent, *, fetch_from: str | None = None) -> "Scene":
        """Everything: configuration, gateway, both clients.

        `fetch_from`: host and port of a file server that is not a public one.
        """
        await self.prepare()
        if fetch_from is not None:
            with self.lockgate.config.open("a") as config:
                config.write(f'files: {{allow_hosts: ["{fetch_from}"]}}\n')
        progress("lockgate run: supervisor, gateway, enclave")
        await self.lockgate.begin()
        progress("Bob logs in to Matrix (matrix-js-sdk), Alice to XMPP (lockgate chat)")
        await self.log_in_bob()
        await self.alice.start()
        return self

    async def omemo_device(self, *, timeout_s: float = 60.0) -> None:
        """Until Bob is an OMEMO device at Alice's end."""
        async with asyncio.timeout(timeout_s):
            while not any(leg.get("device") for leg in await asyncio.to_thread(self.lockgate.legs)):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def room(self, *, timeout_s: float = 60.0) -> str:
        """The direct room in which Bob and the gateway's user are."""
        try:
            return await self.bob.joined_room(inviter=self.alice_matrix.user_id, timeout_s=timeout_s)
        except ClientFailed as fault:
            fault.add_note(f"the end of the gateway's log:\n{self.lockgate.log.read_text()[-6000:]}")
            fault.add_note((await asyncio.to_thread(self.lockgate.tell, "status")).output)
            raise

    def keep_logs(self, name: str) -> Path:
        """Copy the logs and the ledger to where they outlive the scene; returns the folder."""
        kept = ROOT / ".cache" / "logs" / name
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        for path in [*self.folder.rglob("*.log"), *self.folder.rglob("*.trace"), *self.folder.rglob("*.db*")]:
            shutil.copy(path, kept / path.name)
        return kept

    async def close(self) -> None:
        """End the clients, then the gateway, then the taps."""
        await asyncio.gather(self.alice.stop(), self.bob.stop(), return_exceptions=True)
        await asyncio.to_thread(self.lockgate.stop)
        await asyncio.gather(self.xmpp_tap.stop(), self.matrix_tap.stop())
