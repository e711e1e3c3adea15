"""Records and codes of files that cross the enclave. Names: `file/CONTACT/DIGEST` given, `taking/CONTACT/DIGEST` taken.

DIGEST is of the message's id. What a cipher is in the middle of stands in no record: `given` and `taken` run contexts
are in memory only (docs/decisions/0157-file-transfers.md).
"""

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b

from crypto.files.streams import Lock, Made
from crypto.message import Message

GIVEN, TAKING = "file", "taking"
MOST_CONTEXTS = 4096
"""Files in the middle of being read, or written, of all accounts of one half."""
MOST_AT_ONCE = 3
"""Files that one half of an account takes at one time; others wait."""
MOST_WAITING = 100
MOST_STARTS = 50
"""Times that a transfer begins anew before it is given up."""
MOST_UPLOADING_MS = 48 * 3_600_000
"""After this no outcome of an upload is waited for: whoever carries it gives up after a day."""
MOST_SEALED_ASIDE = 64
"""Octets that encryption adds to a file at most (a tag, padding)."""

FILES_OFF = "files-not-allowed"
QUEUE_FULL = "queue-full"
NOT_AUTHENTIC = "file-not-authentic"


def digest(message_id: str) -> str:
    """A message's id as a part of record names and keys."""
    return blake2b(message_id.encode(), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Given:
    """A file that came with a message, and how far it is read. The reading is told from others by `run`."""

    message_id: str
    url: str = field(repr=False)
    lock: Lock
    run: str = ""
    read: int = 0
    """Octets of ciphertext that were decrypted."""
    given: int = 0
    """Octets of plaintext that were handed on."""


class Stage(StrEnum):
    """How far a file is that we take."""

    WAITING = "waiting"
    PULLING = "pulling"
    UPLOADING = "uploading"


@dataclass(frozen=True, slots=True)
class Taking:
    """A message whose file is being taken. `transfer` names the attempt; its key is in no record before the end."""

    message: Message
    stage: Stage = Stage.WAITING
    transfer: str = ""
    offset: int = 0
    """Octets of plaintext taken."""
    stored: int = 0
    """Octets of ciphertext handed out."""
    starts: int = 0
    number: int = 0
    """Place among those that wait."""
    made: Made | None = None
    since_ms: int = 0
    """When its upload was asked for, milliseconds since 1970."""
