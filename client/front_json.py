"""JSON lines: commands on standard input, events on standard output. The protocol is in docs/client.md."""

import asyncio
import dataclasses
import json
import re
import sys
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from client.content import Said
from client.events import (
    ContactPresence,
    ContactRead,
    ContactTyping,
    Happening,
    MessageCopied,
    MessageDelivered,
    MessageFailed,
    MessageHeld,
    MessageReceived,
    PlainReceived,
    Reacted,
    Retracted,
    SessionChanged,
    SessionEnded,
    SessionRefused,
    SessionView,
    Warned,
)
from client.files import FileFailed
from client.front import Chat, stdin_lines
from client.plugin import QueryFailed
from client.queries import QUESTIONS
from crypto.xml import MalformedXml, parse, serialize

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class BadCommand(Exception):
    """A line on standard input is no command."""


def tell(event: str, **values: object) -> None:
    """Write one event."""
    sys.stdout.write(json.dumps({"event": event, **values}, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def session_values(view: SessionView) -> dict[str, object]:
    """The fields of a `session` event."""
    values = dataclasses.asdict(view)
    del values["jid"]
    values["contact_online"] = values.pop("online")
    values["retained"] = view.chain == "continued"
    return values


class JsonFront:
    """For programs."""

    def __init__(self, drain_s: float) -> None:
        self._drain_s = drain_s
        self._flushing: set[asyncio.Task[None]] = set()

    def online(self, jid: str) -> None:
        """Logged in."""
        tell("online", jid=jid)

    def offline(self, reason: str) -> None:
        """Connection lost."""
        tell("offline", reason=reason)

    def stopped(self, sentence: str) -> None:
        """Login failed."""
        tell("error", text=sentence)

    def happened(self, happening: Happening) -> None:
        """One event for each happening that a program needs."""
        match happening:
            case MessageReceived(id=message_id, body=body, peer=peer, thread=thread, said=said):
                values = {"id": message_id, "body": body, "from": peer, "thread": thread}
                tell("message", **values, time=round(time.time(), 3), **said_values(said))
            case MessageDelivered(id=message_id):
                tell("delivered", id=message_id)
            case MessageFailed(id=message_id, condition=condition, text=text):
                tell("failed", id=message_id, condition=condition, text=text)
            case MessageHeld(id=message_id, condition=condition, text=text):
                tell("held", id=message_id, condition=condition, text=text)
            case MessageCopied(id=message_id, body=body, sender=sender, said=said):
                tell("copied", **{"id": message_id, "body": body, "from": sender}, **said_values(said))
            case PlainReceived(peer=peer):
                tell("plain", **{"from": peer})
            case _:
                self._session_happened(happening)

    def _session_happened(self, happening: Happening) -> None:
        """What is no message."""
        match happening:
            case SessionChanged(view=view):
                tell("session", **session_values(view))
            case SessionEnded(reason=reason, thread=thread):
                tell("ended", reason=reason, thread=thread)
            case SessionRefused(condition=condition, text=text):
                tell("refused", condition=condition, text=text)
            case ContactTyping(state=state):
                tell("typing", state=state)
            case ContactRead(up_to=up_to):
                tell("read", up_to=up_to)
            case Reacted(id=message_id, to=to, emojis=emojis):
                tell("reaction", id=message_id, to=to, emojis=list(emojis))
            case Retracted(id=message_id, to=to):
                tell("retraction", id=message_id, to=to)
            case ContactPresence(show=show, status=status, peer=peer):
                tell("presence", **{"show": show, "status": status, "from": peer})
            case Warned(reason=reason, view=view):
                tell("warning", reason=reason, key=view.key, fingerprint=view.fingerprint, weaker=list(view.weaker))

    async def run(self, chat: Chat) -> None:
        """Carry out commands until `quit` or the end of input."""
        async for line in stdin_lines():
            if not line.strip():
                continue
            try:
                if await self._command(chat, parsed(line)):
                    return
            except BadCommand as error:
                tell("error", text=str(error))
        await chat.flush(self._drain_s)

    async def _command(self, chat: Chat, command: Mapping[str, Any]) -> bool:
        """Carry out one command; true when it was the last."""
        match command:
            case {"send": _} | {"edit": _} | {"reply": _} | {"react": _} | {"retract": _}:
                self._send(chat, command)
            case {"end": True}:
                await chat.end()
            case {"start": True}:
                chat.start()
            case {"status": True}:
                tell("session", **session_values(chat.view))
            case {"flush": True}:
                self._aside(self._flush(chat, command.get("timeout")))
            case {"send_file": str(path)}:
                self._aside(self._send_file(chat, Path(path), self._id(command)))
            case {"fetch_file": str(address), "folder": str(folder)}:
                self._aside(self._fetch_file(chat, address, Path(folder)))
            case {"quit": True}:
                return True
            case _:
                self._say(chat, command)
        return False

    def _say(self, chat: Chat, command: Mapping[str, Any]) -> None:
        """What is no message and does not end anything."""
        match command:
            case {"verify": True}:
                self._verify(chat, weak_string=command.get("weak_string") is True)
            case {"unverify": True}:
                chat.unverify()
            case {"typing": bool(active)}:
                chat.typing(active)
            case {"displayed": str(message_id)}:
                self._displayed(chat, message_id)
            case {"presence": str(show)}:
                self._show(chat, show, command.get("status", ""))
            case {"ask": str(what)} if what in QUESTIONS:
                self._aside(self._ask(chat, what))
            case {"ask": str(what), "kind": "get" | "set" as kind} if _is_element(what):
                self._aside(self._ask(chat, what, kind))
            case _:
                raise BadCommand("no such command; see docs/client.md")

    def _verify(self, chat: Chat, *, weak_string: bool) -> None:
        if chat.view.weak_string and not weak_string:
            raise BadCommand('weak-string: it can be made to match; to count it nevertheless, add "weak_string": true')
        if not chat.verify(weak_string=weak_string):
            raise BadCommand("there is no active session to verify")

    def _id(self, command: Mapping[str, Any]) -> str | None:
        message_id = command.get("id")
        if message_id is not None and not (isinstance(message_id, str) and _ID.fullmatch(message_id)):
            raise BadCommand("an id is 1 to 64 letters, digits, dots, underscores and hyphens")
        return message_id

    async def _send_file(self, chat: Chat, path: Path, message_id: str | None) -> None:
        try:
            tell("queued", id=await chat.send_file(path, message_id))
        except (FileFailed, ValueError) as error:
            tell("file_failed", id=message_id, text=str(error))

    async def _fetch_file(self, chat: Chat, address: str, folder: Path) -> None:
        try:
            tell("file", path=str(await chat.fetch_file(address, folder)), address=address)
        except FileFailed as error:
            tell("file_failed", address=address, text=str(error))

    def _send(self, chat: Chat, command: Mapping[str, Any]) -> None:
        message_id = self._id(command)
        try:
            sent = _sent(chat, command, message_id)
        except ValueError as error:
            raise BadCommand(str(error)) from None
        tell("queued", id=sent)

    def _displayed(self, chat: Chat, message_id: str) -> None:
        try:
            chat.displayed(message_id)
        except ValueError as error:
            raise BadCommand(str(error)) from None

    def _show(self, chat: Chat, show: str, status: object) -> None:
        try:
            chat.show(show, status if isinstance(status, str) else "")
        except ValueError as error:
            raise BadCommand(str(error)) from None

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it while further commands are carried out."""
        task = asyncio.ensure_future(work)
        self._flushing.add(task)
        task.add_done_callback(self._flushing.discard)

    async def _ask(self, chat: Chat, what: str, kind: str = "get") -> None:
        try:
            content = await chat.ask(what, kind=kind)
        except QueryFailed as failure:
            tell("answer", ask=what, result=None, reason=failure.reason)
        else:
            tell("answer", ask=what, result="".join(serialize(e).decode() for e in content))

    async def _flush(self, chat: Chat, timeout_s: object) -> None:
        waiting = await chat.flush(float(timeout_s) if isinstance(timeout_s, int | float) else None)
        tell("flushed", waiting=waiting)


def _sent(chat: Chat, command: Mapping[str, Any], message_id: str | None) -> str:
    """Queue the message of a command. ValueError, or BadCommand for one that is none."""
    match command:
        case {"send": str(text)}:
            return chat.send(text, message_id)
        case {"edit": str(text), "replaces": str(old)}:
            return chat.correct(old, text, message_id)
        case {"reply": str(text), "to": str(to)}:
            quoted = command.get("quoted", "")
            own = command.get("own") is True
            return chat.reply(to, text, message_id, quoted=quoted if isinstance(quoted, str) else "", own=own)
        case {"react": [*emojis], "to": str(to)} if all(isinstance(e, str) for e in emojis):
            return chat.react(to, emojis, message_id)
        case {"retract": str(old)}:
            return chat.retract(old, message_id)
    raise BadCommand("no such command; see docs/client.md")


def said_values(said: Said) -> dict[str, object]:
    """Fields of a message that says more than its text; most have none."""
    values: dict[str, object] = {"replaces": said.replaces, "reply_to": said.reply_to, "place": said.place}
    values["quoted"] = said.quoted
    values |= {"reacts_to": said.reacts_to, "emojis": list(said.emojis), "retracts": said.retracts}
    values["markup"] = "".join(serialize(e).decode() for e in said.markup)
    return {name: value for name, value in values.items() if value}


def _is_element(text: str) -> bool:
    """Whether a question that is given by its XML can be asked."""
    try:
        parse(text.encode(errors="replace"))
    except MalformedXml:
        return False
    return True


def parsed(line: str) -> Mapping[str, Any]:
    """One command. Raises BadCommand."""
    try:
        command = json.loads(line)
    except (ValueError, RecursionError):
        command = None
    if not isinstance(command, dict):
        raise BadCommand("a command is a JSON object on one line")
    return command
