"""The verdict: what was claimed, each claim checked against what really passed."""

import re
from dataclasses import dataclass, field
from typing import Any

from demo.texts import Line
from rig.scene import Scene
from rig.search import in_files, in_octets

_ENCRYPTED = "m.room.encrypted"
_DATA = re.compile(r"<(?:\w+:)?data[^>]*>([^<]+)<")
_ENVELOPE = re.compile(r"<(?:\w+:)?c[\s>]")
_STANZA_ID = re.compile(r"""^<(?:\w+:)?message\b[^>]*?\bid=["']([^"']*)["']""")


@dataclass(frozen=True)
class Claim:
    """One claim with what contradicts it; it holds when nothing does."""

    text: str
    against: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing contradicts it."""
        return not self.against


@dataclass(frozen=True)
class Seen:
    """One message of the conversation as everybody saw it. Empty where somebody saw nothing."""

    line: Line
    alice: str = field(repr=False)
    xmpp: str
    """The ciphertext of the stanza, Base64: what the XMPP server and the gateway saw."""
    matrix: str
    """The ciphertext of the event: what the gateway and Synapse saw."""
    bob: str = field(repr=False)


class Evidence:
    """What was recorded of the conversation, put together by message."""

    def __init__(self, scene: Scene, room: str, alice: list[Line], bob: list[Line], event_ids: list[str]) -> None:
        self.scene, self.room, self.alice, self.bob = scene, room, alice, bob
        self.events: dict[str, dict[str, Any]] = {event["event_id"]: event for event in scene.synapse.events(room)}
        self.stanzas = {
            match[1]: stanza.xml for stanza in scene.alice.trace() if (match := _STANZA_ID.match(stanza.xml))
        }
        self.heard, self.read = scene.alice.messages, scene.bob.messages
        self.event_ids = event_ids
        self.rows = [row for pair in zip(self._alice_rows(), self._bob_rows(), strict=True) for row in pair]

    def _ciphertext(self, event_id: str) -> str:
        event = self.events.get(event_id, {})
        return str(event.get("content", {}).get("ciphertext", "")) if event.get("type") == _ENCRYPTED else ""

    def _data(self, stanza_id: str) -> str:
        match = _DATA.search(self.stanzas.get(stanza_id, ""))
        return match[1] if match else ""

    def _alice_rows(self) -> list[Seen]:
        rows = []
        for number, line in enumerate(self.alice):
            read = self.read[number] if number < len(self.read) else None
            event = self._ciphertext(read.event_id) if read else ""
            rows.append(Seen(line, line.text, self._data(line.id), event, read.body if read else ""))
        return rows

    def _bob_rows(self) -> list[Seen]:
        rows = []
        for number, (line, event_id) in enumerate(zip(self.bob, self.event_ids, strict=True)):
            heard = self.heard[number] if number < len(self.heard) else None
            data = self._data(heard.id) if heard else ""
            rows.append(Seen(line, heard.body if heard else "", data, self._ciphertext(event_id), line.text))
        return rows

    # ------------------------------------------------------------ claims
    def claims(self, word: str) -> list[Claim]:
        """All claims of the verdict but those about the legs."""
        server = self.scene.xmpp.title
        return [
            Claim("every message arrived exactly once, in order and intact", self._against_delivery()),
            Claim("Alice's client was told that each of hers was delivered", self._against_receipts()),
            Claim(f"every stanza between Alice and {server} was an encrypted one", self._against_stanzas()),
            Claim("every event Synapse keeps of the room is encrypted, and Bob could read it", self._against_events()),
            Claim("Bob's client shuts out unsigned devices, and shows no shield", self._against_shields()),
            Claim("these ciphertexts are what passed through the gateway's two connections", self._against_taps()),
            Claim("the word of the day is nowhere: servers' data and logs, ledger, log, connections", self.leaks(word)),
        ]

    def _against_delivery(self) -> list[str]:
        against = []
        for name, sent, got in (
            ("Bob", self.alice, [message.body for message in self.read]),
            ("Alice", self.bob, [message.body for message in self.heard]),
        ):
            if len(got) != len(sent):
                against.append(f"{name} was shown {len(got)} messages, not {len(sent)}")
            against += [
                f"message {number} that {name} was shown is not the one that was sent"
                for number, (line, body) in enumerate(zip(sent, got, strict=False), 1)
                if line.text != body
            ]
        return against

    def _against_receipts(self) -> list[str]:
        delivered, failed = self.scene.alice.ids("delivered"), self.scene.alice.ids("failed")
        missing = [f"{line.id} was not acknowledged" for line in self.alice if line.id not in delivered]
        return missing + [f"{message_id} was refused" for message_id in failed]

    def _against_stanzas(self) -> list[str]:
        ids = [line.id for line in self.alice] + [message.id for message in self.heard]
        return [
            f"the stanza {stanza_id} has no <c/> with data"
            for stanza_id in ids
            if not self._data(stanza_id) or not _ENVELOPE.search(self.stanzas[stanza_id])
        ]

    def _against_events(self) -> list[str]:
        against = [
            f"an event of type {event['type']} lies in the room in the clear"
            for event in self.events.values()
            if "state_key" not in event and event["type"] != _ENCRYPTED
        ]
        against += [f"the event {row.line.id} has no ciphertext" for row in self.rows if not row.matrix]
        against += [f"Bob's client shows {m.event_id} as unencrypted" for m in self.read if not m.encrypted]
        return against + [f"Bob could not read {event['event_id']} at first" for event in self.scene.bob.undecryptable]

    def _against_shields(self) -> list[str]:
        return [f"{m.event_id} has a shield: {m.shield}" for m in self.read if m.shield != "none"]

    def _against_taps(self) -> list[str]:
        against = []
        for row in self.rows:
            if not (row.xmpp and self.scene.xmpp_tap.saw(row.xmpp[:64].encode())):
                against.append(f"the stanza of {row.line.id} did not pass between the XMPP server and the gateway")
            if not (row.matrix and self.scene.matrix_tap.saw(row.matrix[:64].encode())):
                against.append(f"the event of {row.line.id} did not pass between the gateway and Synapse")
        return against

    def leaks(self, word: str) -> list[str]:
        """Where the word was found, among all that is not Alice's or Bob's own."""
        scene, needles = self.scene, [word.encode()]
        found = []
        for folder in (scene.xmpp.folder, scene.synapse.folder, scene.lockgate.folder):
            found += in_files(needles, folder)
        found += in_octets(needles, "Alice's stanzas", scene.alice.trace_file.read_bytes())
        for name, tap in (("the component's connection", scene.xmpp_tap), ("the Matrix connections", scene.matrix_tap)):
            for capture in tap.captures:
                found += in_octets(needles, name, capture.to_server) + in_octets(needles, name, capture.to_client)
        return [f"found in {find.place} ({find.form})" for find in found]


def leg_claims(session: dict[str, Any], xmpp: dict[str, Any], matrix: dict[str, Any]) -> list[Claim]:
    """Claims about the legs, from Alice's session and the gateway's status."""
    same = [] if session["sas"] and session["sas"] == xmpp["sas"] else [f"{session['sas']} and {xmpp['sas']}"]
    weak = [
        f"the {leg['network']} leg is {leg['assurance']}" for leg in (xmpp, matrix) if leg["assurance"] != "end-to-end"
    ]
    return [
        Claim("both ends of the ESession have the same short authentication string", same),
        Claim("both legs are end-to-end encrypted", weak),
    ]
