"""The half that a file came to: fetches its ciphertext stretch by stretch, decrypts, hands on one part at a time."""

from dataclasses import replace

from adapters.inside_api import ContactPolicy, Step
from bridge.wire.files import BEGIN_AGAIN, FILE_GONE, FILE_UNAVAILABLE
from bridge.wire.link import Input
from bridge.wire.values import Address, Number
from crypto.content import PART_OCTETS, ContentPolicy, Part
from crypto.errors import Unauthentic
from crypto.files.streams import Lock, Opener, opener
from crypto.transfers.contexts import Contexts
from crypto.transfers.model import (
    GIVEN,
    MOST_SEALED_ASIDE,
    NOT_AUTHENTIC,
    Given,
    digest,
)

_OK = "ok"


def offer(step: Step, contact: ContactPolicy, message_id: str, url: str, lock: Lock) -> bool:
    """Note where the file of a message is, before the message is handed on. The lock is known to be usable.

    False: the id has another file already, which stays. Ids of events are the homeserver's, so they prove nothing.
    """
    name = _name(contact.id, message_id)
    stands = step.records.get(name, Given)
    if stands is not None and (stands.url, stands.lock) != (url, lock):
        return False
    if stands is None:
        step.records.put(name, Given(message_id, url, lock))
    return True


class Giver:
    """The files that came to one half, of all accounts. `fetch`, `drop`: names of its requests.

    `fetch` {url, offset, size, most}: answered with that stretch of the ciphertext; a shorter one is the last.
    `drop` {url}: what was kept of it is needed no more.
    """

    def __init__(self, fetch: str, drop: str) -> None:
        self._fetch, self._drop = fetch, drop
        self._openers: Contexts[Opener] = Contexts()

    def wanted(self, step: Step, contact: ContactPolicy, message_id: str, offset: int) -> None:
        """See adapters.inside_api.Filing.file_wanted."""
        name = _name(contact.id, message_id)
        given = step.records.get(name, Given)
        if given is None:
            step.part(contact.id, message_id, Part(offset, code=FILE_GONE))
            return
        if offset == 0:
            given = replace(given, run=step.draw("file-run", 8).hex(), read=0, given=0)
            step.records.put(name, given)
            self._openers.put(step.account.id, name, given.run, 0, opener(given.lock))
        elif offset != given.given or not self._openers.stands(step.account.id, name, given.run, given.read):
            step.part(contact.id, message_id, Part(offset, code=BEGIN_AGAIN))
            return
        self._ask(step, contact, given)

    def _ask(self, step: Step, contact: ContactPolicy, given: Given) -> None:
        most = ContentPolicy.of(contact.options).file_octets + MOST_SEALED_ASIDE
        step.carry(
            self._fetch,
            {
                "url": Address(v=given.url),
                "offset": Number(v=given.read),
                "size": Number(v=PART_OCTETS),
                "most": Number(v=most),
            },
            lane=f"file/{given.run}",
            key=f"{GIVEN}/{contact.id}/{digest(given.message_id)}/{given.run}/{given.read}",
        )

    def answered(self, step: Step, answer: Input) -> None:
        """A stretch came, or will not. What was not asked for in this run, or at this place, is not looked at."""
        parts = (answer.key or "").split("/")
        contact = step.account.contact_by_id(parts[1]) if len(parts) == 5 and parts[0] == GIVEN else None
        name = "/".join(parts[:3])
        given = step.records.get(name, Given) if contact is not None else None
        if contact is None or given is None or parts[3:] != [given.run, str(given.read)]:
            step.report("file-astray")
            return
        place = given.given
        running = self._openers.take(step.account.id, name, given.run, given.read)
        if answer.code != _OK or len(answer.body) > PART_OCTETS:
            code = answer.code if answer.code != _OK else FILE_UNAVAILABLE
            self._end(step, given)
            step.part(contact.id, given.message_id, Part(place, code=code))
        elif running is None:
            step.part(contact.id, given.message_id, Part(place, code=BEGIN_AGAIN))
        else:
            self._opened(step, contact, given, running, answer.body)

    def _opened(self, step: Step, contact: ContactPolicy, given: Given, running: Opener, body: bytes) -> None:
        name, last = _name(contact.id, given.message_id), len(body) < PART_OCTETS
        plaintext = running.opened(body)
        if last:
            authentic = True
            try:
                plaintext += running.finished()
            except Unauthentic:
                authentic = False
            self._end(step, given)
            if not authentic:
                step.report(NOT_AUTHENTIC, contact.id)
                step.part(contact.id, given.message_id, Part(given.given, code=NOT_AUTHENTIC))
                return
        after = replace(given, read=given.read + len(body), given=given.given + len(plaintext))
        step.records.put(name, after)
        if not last:
            self._openers.put(step.account.id, name, after.run, after.read, running)
        step.part(contact.id, given.message_id, Part(given.given, plaintext, last))

    def _end(self, step: Step, given: Given) -> None:
        """Nothing more of it is read in this run."""
        step.carry(self._drop, {"url": Address(v=given.url)}, lane=f"file/{given.run}")

    def settled(self, step: Step, contact: ContactPolicy, message_id: str) -> None:
        """The message reached the other network, or will not: its file is forgotten."""
        name = _name(contact.id, message_id)
        if step.records.get(name, Given) is not None:
            step.records.delete(name)
            self._openers.forget(step.account.id, name)

    def started(self, step: Step) -> None:
        """The account was brought in: files of contacts that are off the map are forgotten."""
        mapped = {contact.id for contact in step.account.contacts}
        for name in list(step.records.names(f"{GIVEN}/")):
            if name.split("/")[1] not in mapped:
                step.records.delete(name)
                self._openers.forget(step.account.id, name)


def _name(contact: str, message_id: str) -> str:
    return f"{GIVEN}/{contact}/{digest(message_id)}"
