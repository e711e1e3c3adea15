"""The half that sends a file on: asks for its parts, encrypts them under a fresh key, has them stored and uploaded."""

from collections.abc import Callable
from dataclasses import replace

from adapters.inside_api import AnyValue, ContactPolicy, Step
from bridge.wire.files import BEGIN_AGAIN, FILE_TOO_LARGE, FILE_UNAVAILABLE
from bridge.wire.link import Input
from bridge.wire.values import Code, Number, Opaque, Sealed
from crypto.content import Attachment, ContentPolicy, Part
from crypto.files.streams import NONCE, Made, Method, Sealer
from crypto.message import Message
from crypto.transfers.contexts import Contexts
from crypto.transfers.model import (
    FILES_OFF,
    MOST_AT_ONCE,
    MOST_STARTS,
    MOST_UPLOADING_MS,
    MOST_WAITING,
    QUEUE_FULL,
    TAKING,
    Stage,
    Taking,
    digest,
)

Done = Callable[[Step, ContactPolicy, Message, Made, bytes], str]
"""Sends the message whose file was uploaded: with what is to be said of the file, and the answer to the upload.

Returns `ok`, or why it cannot.
"""
_OK = "ok"
_KINDS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
    "audio/ogg": "ogg",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "audio/aac": "aac",
    "audio/webm": "weba",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "application/pdf": "pdf",
}


class Taker:
    """The files that one half sends on, of all accounts. `part`, `upload`, `drop`: names of its requests.

    `part` {transfer, offset, content}: keep that stretch of ciphertext; only its failure is answered.
    `upload` {transfer, size}: upload what was kept, and forget it. `drop` {transfer}: forget it.
    """

    def __init__(self, method: Method, part: str, upload: str, drop: str, done: Done, *, endings: bool = False) -> None:
        """`endings`: the upload is told what file names of the kind end in, for clients that go by nothing else."""
        self._method, self._done, self._endings = method, done, endings
        self._part, self._upload, self._drop = part, upload, drop
        self._sealers: Contexts[Sealer] = Contexts()

    # ---------------------------------------------------------------- a message with a file
    def take(self, step: Step, contact: ContactPolicy, message: Message) -> None:
        """A message with a file is to go out: begin, or get in line, or refuse."""
        most = ContentPolicy.of(contact.options).file_octets
        held = list(step.records.names(f"{TAKING}/"))
        name = _name(contact.id, message.id)
        claimed = message.attachment.size if message.attachment is not None else 0
        standing = step.records.get(name, Taking) if name in held else None
        if standing is not None and standing.message.attachment != message.attachment:
            self._refuse(step, contact, message, FILE_UNAVAILABLE)  # another file under an id that is taken
        elif standing is not None:
            step.report("file-repeated", contact.id)
        elif claimed > most or most == 0:
            self._refuse(step, contact, message, FILES_OFF if most == 0 else FILE_TOO_LARGE)
        elif len(held) >= MOST_WAITING:
            self._refuse(step, contact, message, QUEUE_FULL)
        else:
            step.records.put(name, Taking(message, number=step.position or step.now_ms()))
            self._next(step)

    def cancelled(self, step: Step, contact: ContactPolicy, message_id: str) -> bool:
        """Its sender took the message back: nothing of it goes out. False when no such file is under way."""
        name = _name(contact.id, message_id)
        taking = step.records.get(name, Taking)
        if taking is None:
            return False
        self._forget(step, name, taking)
        step.delivered(contact.id, message_id)
        self._next(step)
        return True

    def started(self, step: Step) -> None:
        """The account was brought in. Whatever lost its cipher begins anew; what is being uploaded goes on."""
        for name in list(step.records.names(f"{TAKING}/")):
            taking = step.records.get(name, Taking)
            contact = step.account.contact_by_id(name.split("/")[1])
            if taking is None:
                continue
            if contact is None:
                self._forget(step, name, taking)
            elif taking.stage is Stage.PULLING and not self._stands(step, name, taking):
                self._begin(step, contact, name, taking)
            elif taking.stage is Stage.UPLOADING and step.now_ms() - taking.since_ms > MOST_UPLOADING_MS:
                self._fail(step, contact, name, taking, FILE_UNAVAILABLE)  # its outcome was lost
        self._next(step)

    def _stands(self, step: Step, name: str, taking: Taking) -> bool:
        return self._sealers.stands(step.account.id, name, taking.transfer, taking.offset)

    def _next(self, step: Step) -> None:
        """Begin with those that wait, as many as may be under way."""
        known = [(name, step.records.get(name, Taking)) for name in step.records.names(f"{TAKING}/")]
        waiting = [(taking.number, name, taking) for name, taking in known if taking and taking.stage is Stage.WAITING]
        free = MOST_AT_ONCE - (len(known) - len(waiting))
        for _, name, taking in sorted(waiting, key=lambda entry: entry[:2])[: max(0, free)]:
            contact = step.account.contact_by_id(name.split("/")[1])
            if contact is not None and step.records.get(name, Taking) == taking:  # the one before may have failed
                self._begin(step, contact, name, taking)

    def _begin(self, step: Step, contact: ContactPolicy, name: str, taking: Taking) -> None:
        """From the first octet, under a key that nothing was ever encrypted with."""
        if taking.starts >= MOST_STARTS:
            self._fail(step, contact, name, taking, FILE_UNAVAILABLE)
            return
        if taking.transfer:
            step.report("file-begun-again", contact.id)
            self._discard(step, taking)
        transfer = step.draw("file-transfer", 16).hex()
        key, iv = step.draw("file-key", 32), step.draw("file-iv", NONCE[self._method])
        begun = Taking(taking.message, Stage.PULLING, transfer, starts=taking.starts + 1, number=taking.number)
        step.records.put(name, begun)
        self._sealers.put(step.account.id, name, transfer, 0, Sealer(self._method, key, iv))
        step.pull(contact.id, taking.message.id, 0)

    # ---------------------------------------------------------------- its parts
    def part(self, step: Step, contact: ContactPolicy, message_id: str, part: Part) -> None:
        """See adapters.inside_api.Filing.file_part."""
        name = _name(contact.id, message_id)
        taking = step.records.get(name, Taking)
        if taking is None or taking.stage is not Stage.PULLING:
            step.report("file-astray", contact.id)
            return
        sealer = self._sealers.take(step.account.id, name, taking.transfer, taking.offset)
        if part.code not in (_OK, BEGIN_AGAIN):
            self._fail(step, contact, name, taking, part.code)
        elif sealer is None or part.code == BEGIN_AGAIN or part.offset != taking.offset:
            self._begin(step, contact, name, taking)
        elif taking.offset + len(part.octets) > ContentPolicy.of(contact.options).file_octets:
            self._fail(step, contact, name, taking, FILE_TOO_LARGE)
        else:
            self._sealed(step, contact, taking, sealer, part)

    def _sealed(self, step: Step, contact: ContactPolicy, taking: Taking, sealer: Sealer, part: Part) -> None:
        name = _name(contact.id, taking.message.id)
        content, made = sealer.sealed(part.octets), None
        if part.last:
            tail, made = sealer.finished()
            content += tail
        after = replace(taking, offset=taking.offset + len(part.octets), stored=taking.stored + len(content), made=made)
        where: dict[str, AnyValue] = {"transfer": Opaque(v=taking.transfer), "offset": Number(v=taking.stored)}
        key = f"{name}/{taking.transfer}"
        lane = f"{TAKING}/{taking.transfer}"
        step.carry(self._part, {**where, "content": Sealed(v=content)}, lane=lane, key=f"{key}/{taking.stored}")
        if made is None:
            step.records.put(name, after)
            self._sealers.put(step.account.id, name, after.transfer, after.offset, sealer)
            step.pull(contact.id, taking.message.id, after.offset)
            return
        step.records.put(name, replace(after, stage=Stage.UPLOADING, since_ms=step.now_ms()))
        values: dict[str, AnyValue] = {"transfer": Opaque(v=after.transfer), "size": Number(v=after.stored)}
        ending = _ending(taking.message.attachment) if self._endings else None
        if ending is not None:
            values["ending"] = Code(v=ending)
        step.carry(self._upload, values, lane=lane, key=f"{key}/upload")

    def answered(self, step: Step, answer: Input) -> None:
        """A part could not be kept, or the upload has its outcome."""
        parts = (answer.key or "").split("/")
        contact = step.account.contact_by_id(parts[1]) if len(parts) == 5 and parts[0] == TAKING else None
        name = "/".join(parts[:3])
        taking = step.records.get(name, Taking) if contact is not None else None
        if contact is None or taking is None or parts[3] != taking.transfer:
            if answer.code == _OK or answer.name != self._part:
                step.report("file-astray")
            return
        if answer.code == BEGIN_AGAIN:
            self._begin(step, contact, name, taking)
        elif answer.code != _OK:
            self._fail(step, contact, name, taking, answer.code)
        elif answer.name == self._upload and taking.made is not None:
            step.records.delete(name)
            code = self._done(step, contact, taking.message, taking.made, answer.body)
            if code != _OK:
                self._refuse(step, contact, taking.message, code)
            self._next(step)

    # ---------------------------------------------------------------- the end
    def _fail(self, step: Step, contact: ContactPolicy, name: str, taking: Taking, code: str) -> None:
        self._forget(step, name, taking)
        self._refuse(step, contact, taking.message, code)
        self._next(step)

    def _forget(self, step: Step, name: str, taking: Taking) -> None:
        step.records.delete(name)
        self._sealers.forget(step.account.id, name)
        self._discard(step, taking)

    def _discard(self, step: Step, taking: Taking) -> None:
        """The outside may forget what it keeps. By a way of its own: what waits before it may wait for ever."""
        if taking.transfer:
            step.carry(self._drop, {"transfer": Opaque(v=taking.transfer)}, lane=f"drop/{taking.transfer}")

    def _refuse(self, step: Step, contact: ContactPolicy, message: Message, code: str) -> None:
        step.trace(message.position, "refused", code)
        step.failed(contact.id, message.id, code)


def _ending(attachment: Attachment | None) -> str | None:
    return None if attachment is None else _KINDS.get(attachment.media_type)


def _name(contact: str, message_id: str) -> str:
    return f"{TAKING}/{contact}/{digest(message_id)}"
