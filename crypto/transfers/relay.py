"""The files of one half, both ways: what it gives to the other half and what it takes from it."""

from adapters.inside_api import ContactPolicy, Step
from bridge.wire.files import FILE_DROP, FILE_FETCH, FILE_FORGET, FILE_PART, FILE_REQUESTS, FILE_UPLOAD
from bridge.wire.link import Input
from crypto.content import Part
from crypto.files.streams import Method
from crypto.message import Message
from crypto.transfers.giving import Giver
from crypto.transfers.taking import Done, Taker


class Relay:
    """The files of all accounts, as far as their ciphers are in the middle of them: that cannot be written down."""

    def __init__(self, method: Method, done: Done, *, endings: bool = False) -> None:
        """`method`: how files are encrypted on this half's network; `done`, `endings`: see Taker."""
        self._giver = Giver(FILE_FETCH, FILE_FORGET)
        self._taker = Taker(method, FILE_PART, FILE_UPLOAD, FILE_DROP, done, endings=endings)

    def started(self, step: Step) -> None:
        """The account was brought in."""
        self._giver.started(step)
        self._taker.started(step)

    def send(self, step: Step, contact: ContactPolicy, message: Message) -> bool:
        """Whether the message is about a file, and is taken care of: one to be sent, or one that is taken back."""
        if message.retracts is not None and self._taker.cancelled(step, contact, message.retracts):
            step.delivered(contact.id, message.id)
            return True
        if message.attachment is None:
            return False
        self._taker.take(step, contact, message)
        return True

    def wanted(self, step: Step, contact: ContactPolicy, message_id: str, offset: int) -> None:
        """See adapters.inside_api.Filing.file_wanted."""
        self._giver.wanted(step, contact, message_id, offset)

    def part(self, step: Step, contact: ContactPolicy, message_id: str, part: Part) -> None:
        """See adapters.inside_api.Filing.file_part."""
        self._taker.part(step, contact, message_id, part)

    def settled(self, step: Step, contact: ContactPolicy, message_id: str) -> None:
        """A message that this half delivered reached the other network, or will not."""
        self._giver.settled(step, contact, message_id)

    def answered(self, step: Step, answer: Input) -> bool:
        """Whether the answer was to a request about a file."""
        if answer.name == FILE_FETCH:
            self._giver.answered(step, answer)
        elif answer.name in (FILE_PART, FILE_UPLOAD):
            self._taker.answered(step, answer)
        return answer.name in FILE_REQUESTS
