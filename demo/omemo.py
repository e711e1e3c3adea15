"""`make demo CLIENT=profanity-omemo`: an ordinary client, unmodified, with the OMEMO lock it has anyway."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from demo import show
from demo.companion import Play
from demo.proof import Claim
from rig.profanity_omemo import OmemoProfanity
from rig.scene import Scene
from rig.services import Service, ServiceFailed
from rig.synapse import Synapse
from rig.xmpp import XmppServer

_STANZA = re.compile(
    rb"""<message\b[^>]*?\bid=["']([^"']*)["'][^>]*>(?:(?!</message>).)*?<payload\b[^>]*>([^<]+)</payload>""", re.S
)


class OmemoPlay(Play):
    """The conversation, with the lock on; then both ends' keys are compared and called verified."""

    stanza = _STANZA
    theirs = ""
    """The key of Bob's device as Profanity shows it."""
    own = ""
    """The key of Profanity's device as Profanity shows it."""

    def __init__(self, scene: Scene, profanity: OmemoProfanity) -> None:
        super().__init__(scene, profanity)
        self.client = profanity

    def is_message(self, _stanza_id: str, _ours: bool, /) -> bool:
        """All stanzas with a payload are messages: those that only keep a session up have none."""
        return True

    async def lock(self) -> None:
        """Bob's contact is added, and `/omemo start` shows the lock."""
        await self.scene.omemo_device()
        await self.client.befriend(self.scene.alice.contact)
        await self.client.lock(self.scene.alice.contact)

    async def compare(self) -> dict[str, Any]:
        """Read both keys off Profanity's screen, give them to both ends as a person would; the gateway's leg then."""
        contact = self.scene.alice.contact
        self.own = await self.client.own_fingerprint()
        self.theirs = ", ".join(one.value for one in await self.client.fingerprints(contact))
        await self.client.trust(contact, self.theirs)
        order = ("trust", "verify", "alice", "bob", "--key", self.own)
        ended = await asyncio.to_thread(self.scene.lockgate.tell, *order)
        if ended.status != 0:
            raise ServiceFailed(f"lockgate trust verify: {ended.output}")
        return await self._leg()

    async def marked(self) -> list[str]:
        """The marks beside the messages with the word in Profanity's window with Bob; leaves that window shown."""
        await self.client.wait_message(self.scene.alice.contact, self.bob[-1].text)
        return [one.mark for one in self.client.messages() if one.encrypted] + [
            f"{one.who} {one.mark}" for one in self.client.messages() if not one.encrypted
        ]

    async def _leg(self) -> dict[str, Any]:
        return await asyncio.to_thread(self.scene.lockgate.leg, "xmpp")


def _claims(acted: OmemoPlay, leg: dict[str, Any], marks: list[str]) -> list[Claim]:
    device = leg["device"]
    bare = [f"in clear: {mark}" for mark in marks if len(mark) > 1]
    if len(marks) < len(acted.alice) + len(acted.bob):
        bare.append(f"{len(marks)} messages are shown")
    seen = ["the word is in a stanza"] if acted.word in acted.client.wire() else []
    other = [] if acted.theirs == device["key"] else [f"{acted.theirs} and {device['key']}"]
    users = [(each["key"], each["state"]) for each in device["devices"]]
    unverified = [] if users == [(acted.own, "verified")] else [f"{users} and {acted.own}"]
    return [
        Claim("Profanity marks every message, hers and Bob's, as encrypted", bare),
        Claim(f"no stanza between Profanity and {acted.scene.xmpp.title} has the word of the day", seen),
        Claim("Profanity and the gateway show the same OMEMO key for Bob", other),
        Claim("the gateway knows Profanity's OMEMO key, and has it verified", unverified),
    ]


def _keys(acted: OmemoPlay, leg: dict[str, Any]) -> Table:
    table = Table(title="The OMEMO keys", expand=True)
    for heading in ("", "in Profanity", "at the gateway (lockgate trust show)"):
        table.add_column(heading, overflow="fold")
    table.add_row("Bob's device", acted.theirs, Text(leg["device"]["key"], style="bold"))
    for each in leg["device"]["devices"]:
        table.add_row("Profanity's device", acted.own, Text(f"{each['key']} ({each['state']})", style="bold"))
    return table


async def play(folder: Path, xmpp: XmppServer, progress: Callable[[str], None]) -> bool:
    """Everything, from the servers to the verdict; returns whether all claims hold."""
    with contextlib.ExitStack() as running:
        synapse = Synapse(folder / "synapse")
        services: list[tuple[Service, str]] = [(xmpp, f"{xmpp.title} (XMPP server)"), (synapse, "Synapse (Matrix)")]
        for server, said in services:
            progress(f"starting {said}")
            running.callback(server.stop)
            await server.begin()
        scene = await asyncio.to_thread(Scene, folder / "scene", xmpp, synapse)
        scene.omemo = {"use": "on"}
        try:
            await scene.prepare()
            progress("lockgate run: supervisor, gateway, enclave")
            await scene.lockgate.begin()
            progress("Bob logs in to Matrix (matrix-js-sdk)")
            await scene.log_in_bob()
            return await _with_profanity(folder, scene, progress)
        finally:
            progress("stopping the gateway, the clients and the servers")
            await scene.close()


async def _with_profanity(folder: Path, scene: Scene, progress: Callable[[str], None]) -> bool:
    profanity = OmemoProfanity(folder / "profanity", scene.alice_account)
    acted = OmemoPlay(scene, profanity)
    try:
        progress(f"Profanity logs in to {scene.xmpp.title}: /omemo gen, then /omemo start with {scene.alice.contact}")
        await profanity.online()
        await profanity.generate()
        await acted.lock()
        await acted.converse(progress)
        marks, screen = await acted.marked(), profanity.shown()
        progress("comparing the keys: /omemo fingerprint, /omemo trust, lockgate trust verify")
        leg = await acted.compare()
        legs = await asyncio.to_thread(scene.lockgate.legs)
        progress("looking for the word of the day in everything that was stored, logged or sent")
        rows = await asyncio.to_thread(acted.rows)
        claims = await asyncio.to_thread(acted.claims, rows, legs) + _claims(acted, leg, marks)
    finally:
        await profanity.stop()
    console = show.console()
    console.print(show.conversation(rows, scene.xmpp.title, "payload"))
    console.print("Profanity's screen at the end:", style="bold")
    console.print("\n".join(line for line in screen.splitlines() if line.strip()), markup=False, style="dim")
    console.print(_keys(acted, leg))
    console.print(show.verdict(claims))
    return all(claim.holds for claim in claims)
