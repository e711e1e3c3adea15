"""`make demo CLIENT=profanity`: the same with an ordinary client, unmodified, behind `lockgate companion`."""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from demo import show
from demo.proof import Claim, Seen
from demo.texts import Line
from rig.companion_process import CompanionProcess
from rig.profanity import Profanity
from rig.prosody import Prosody
from rig.scene import Scene
from rig.search import in_files, in_octets
from rig.services import Service
from rig.synapse import Synapse

_STANZA = re.compile(rb"""<message\b[^>]*?\bid=["']([^"']*)["'][^>]*>(?:(?!</message>).)*?<data>([^<]+)</data>""", re.S)
_LINE = re.compile(r"^\S+ - ([^:]+): (.*)$")
_ENCRYPTED = "m.room.encrypted"
_TEXTS = (
    "Hello {other}, this is {name}. The word of the day is {word}.",
    "Emoji and scripts: 🚢🔒 日本語 русский עברית {word}",
    "Markup that is none: <b>&amp;</b> & < > {word} </body>",
    "A longer one, {word}: " + " ".join(f"{n}.{n * n:x}" for n in range(60)),
    "Goodbye {other}! {word}",
)


def _lines(word: str) -> tuple[list[Line], list[Line]]:
    """Five texts each way that can be typed into a terminal."""
    pair = (("alice", "Alice", "Bob"), ("bob", "Bob", "Alice"))
    made = [
        [Line(f"{who}-{n}", who, text.format(name=name, other=other, word=word)) for n, text in enumerate(_TEXTS)]
        for who, name, other in pair
    ]
    return made[0], made[1]


class Play:
    """One conversation of Profanity's user with Bob."""

    stanza = _STANZA
    """A message between server and gateway: its id, and its ciphertext."""

    def __init__(self, scene: Scene, profanity: Profanity, *folders: Path) -> None:
        """`folders`: further ones in which the word may not be."""
        self.scene, self.profanity, self.folders = scene, profanity, folders
        self.word = f"heron{secrets.token_hex(6)}"
        self.alice, self.bob = _lines(self.word)
        self.room = ""
        self.events: list[str] = []

    async def converse(self, progress: Callable[[str], None]) -> None:
        """By turns."""
        for number, (line, answer) in enumerate(zip(self.alice, self.bob, strict=True), 1):
            progress(f"message {number} of {len(self.alice)} each way")
            await self.profanity.say(self.scene.alice.contact, line.text)
            if not self.room:
                self.room = await self.scene.room(timeout_s=90)
            await self.scene.bob.wait_messages(number, timeout_s=90)
            self.events.append(await self.scene.bob.send(self.room, answer.text))
            await self._shows(answer.text)
        progress("waiting whether anything comes twice")
        await asyncio.sleep(2)

    async def _shows(self, text: str) -> None:
        for _ in range(600):
            if text in self.profanity.chat_log():
                return
            await asyncio.sleep(0.1)
        raise TimeoutError(f"profanity does not show a message; its screen:\n{self.profanity.shown()}")

    async def compared(self) -> tuple[str, dict[str, Any]]:
        """What the local contact says of the session in Profanity, and the gateway's leg."""
        leg = await asyncio.to_thread(self.scene.lockgate.leg, "xmpp")
        await self.profanity.command("/msg lockgate.local status")
        said = await self.profanity.wait_for("string")
        await self.profanity.command(f"/msg lockgate.local verify bob {leg['sas']}")
        await self.profanity.wait_for("bob: verified")
        return said, leg

    # ------------------------------------------------------------ evidence
    def shown(self, mine: bool) -> list[str]:
        """What Profanity shows in the chat with Bob, ours or his."""
        found = [_LINE.match(line) for line in self.profanity.chat_log().splitlines() if self.word in line]
        return [match[2] for match in found if match is not None and (match[1] == "me") is mine]

    def stanzas(self, ours: bool) -> list[str]:
        """Ciphertexts between Prosody and the gateway, of Alice's messages or of Bob's, each once."""
        found: dict[str, str] = {}
        for capture in self.scene.xmpp_tap.captures:
            octets = bytes(capture.to_client if ours else capture.to_server)
            for match in self.stanza.finditer(octets):
                if self.is_message(match[1].decode(), ours):
                    found[match[1].decode()] = match[2].decode()
        return list(found.values())

    def is_message(self, stanza_id: str, ours: bool, /) -> bool:
        """Whether a stanza with ciphertext is a message of the conversation, not of the session's upkeep."""
        return stanza_id.startswith("m-") is not ours and not stanza_id.startswith(("lg-", "s-"))

    def rows(self) -> list[Seen]:
        """The conversation by message."""
        events = {event["event_id"]: event for event in self.scene.synapse.events(self.room)}
        read = self.scene.bob.messages

        def cipher(event_id: str) -> str:
            event = events.get(event_id, {})
            return str(event.get("content", {}).get("ciphertext", "")) if event.get("type") == _ENCRYPTED else ""

        def at(values: list[str], number: int) -> str:
            return values[number] if number < len(values) else ""

        rows = []
        mine, his, out, back = self.shown(True), self.shown(False), self.stanzas(True), self.stanzas(False)
        for n, (line, answer) in enumerate(zip(self.alice, self.bob, strict=True)):
            got = read[n] if n < len(read) else None
            event = cipher(got.event_id) if got else ""
            rows.append(Seen(line, at(mine, n), at(out, n), event, got.body if got else ""))
            rows.append(Seen(answer, at(his, n), at(back, n), cipher(self.events[n]), answer.text))
        return rows

    def claims(self, rows: list[Seen], legs: list[dict[str, Any]]) -> list[Claim]:
        """What is claimed with any encryption, each claim with what contradicts it."""
        wanted = ([line.text for line in self.alice], [line.text for line in self.bob])
        got = ([message.body for message in self.scene.bob.messages], self.shown(False))
        delivered = [
            f"{who} was shown {len(g)} of {len(w)}" for who, w, g in zip("BA", wanted, got, strict=True) if w != g
        ]
        bare = [f"{row.line.id} was not seen encrypted" for row in rows if not row.xmpp or not row.matrix]
        weak = [
            f"the {each['network']} leg is {each['assurance']}" for each in legs if each["assurance"] != "end-to-end"
        ]
        between = f"{self.scene.xmpp.title}, the gateway process and Synapse"
        places = "servers, gateway, connections" + (", the companion's files" if self.folders else "")
        return [
            Claim("every message arrived exactly once, in order and intact", delivered),
            Claim(f"every message was ciphertext for {between}", bare),
            Claim("both legs are end-to-end encrypted", weak),
            Claim(f"the word of the day is nowhere: {places}", self._leaks()),
        ]

    def _leaks(self) -> list[str]:
        scene, needles = self.scene, [self.word.encode()]
        found = []
        for folder in (scene.xmpp.folder, scene.synapse.folder, scene.lockgate.folder, *self.folders):
            found += in_files(needles, folder)
        for name, tap in (("the component's connection", scene.xmpp_tap), ("the Matrix connections", scene.matrix_tap)):
            for capture in tap.captures:
                found += in_octets(needles, name, capture.to_server) + in_octets(needles, name, capture.to_client)
        return [f"found in {find.place} ({find.form})" for find in found]


def _same_string(said: str, leg: dict[str, Any]) -> Claim:
    same = [] if leg["sas"] in said else [f"{leg['sas']} is not in: {said}"]
    return Claim("Profanity's contact Lockgate and the gateway show the same short authentication string", same)


def _strings(said: str, leg: dict[str, Any]) -> Table:
    table = Table(title="The short authentication string", expand=True)
    table.add_column("in Profanity, from the contact Lockgate", overflow="fold")
    table.add_column("at the gateway (lockgate trust show)", overflow="fold")
    table.add_row(said.strip(), Text(str(leg["sas"]), style="bold"))
    return table


async def play(folder: Path, progress: Callable[[str], None]) -> bool:
    """Everything, from the servers to the verdict; returns whether all claims hold."""
    with contextlib.ExitStack() as running:
        # Few components: Profanity asks each of them what it is when it logs in.
        prosody, synapse = Prosody(folder / "prosody", components=4), Synapse(folder / "synapse")
        services: list[tuple[Service, str]] = [(prosody, "Prosody (XMPP server)"), (synapse, "Synapse (Matrix)")]
        for server, said in services:
            progress(f"starting {said}")
            running.callback(server.stop)
            await server.begin()
        scene = await asyncio.to_thread(Scene, folder / "scene", prosody, synapse)
        try:
            await scene.prepare()
            progress("lockgate run: supervisor, gateway, enclave")
            await scene.lockgate.begin()
            progress("Bob logs in to Matrix (matrix-js-sdk)")
            await scene.log_in_bob()
            companion = CompanionProcess(folder / "companion", scene.alice_account)
            running.callback(companion.stop)
            progress("lockgate companion: proxy and enclave")
            await companion.begin()
            return await _with_profanity(folder, scene, companion, progress)
        finally:
            progress("stopping the gateway, the clients and the servers")
            await scene.close()


async def _with_profanity(
    folder: Path, scene: Scene, companion: CompanionProcess, progress: Callable[[str], None]
) -> bool:
    profanity, account = Profanity(folder / "profanity"), companion.account
    try:
        progress("Profanity logs in to 127.0.0.1 as if it were its server")
        await profanity.start(account.jid, account.password, account.host, account.port)
        await profanity.logged_in()
        acted = Play(scene, profanity, companion.folder)
        await acted.converse(progress)
        said, leg = await acted.compared()
        legs = await asyncio.to_thread(scene.lockgate.legs)
        progress("looking for the word of the day in everything that was stored, logged or sent")
        rows = await asyncio.to_thread(acted.rows)
        claims = await asyncio.to_thread(acted.claims, rows, legs)
        claims.append(_same_string(said, leg))
        screen = profanity.shown()
    finally:
        await profanity.stop()
    console = show.console()
    console.print(show.conversation(rows, scene.xmpp.title))
    console.print("Profanity's screen at the end:", style="bold")
    console.print("\n".join(line for line in screen.splitlines() if line.strip()), markup=False, style="dim")
    console.print(_strings(said, leg))
    console.print(show.verdict(claims))
    return all(claim.holds for claim in claims)
