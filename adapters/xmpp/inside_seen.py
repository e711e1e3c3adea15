"""Messages from the user: which were taken, so that doubles are told apart, and what became of each."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b

from adapters.xmpp.inside_state import CHUNK, CHUNKS, SeenChunk, SeenLast, SeenMessage
from crypto.records import Records

_MARK = 8


def find(records: Records, contact: str, id_: str) -> SeenMessage | None:
    """The message of that id."""
    last = records.get(f"seen-last/{contact}", SeenLast)
    if last is None:
        return None
    newest = records.get(_name(contact, last.number), SeenChunk)
    if (newest is None or id_ not in newest.ids) and _mark(id_) not in last.older:
        return None
    for _, chunk in _newest_first(records, contact):
        if id_ in chunk.ids:
            return chunk.messages[chunk.ids.index(id_)]
    return None


def find_by_mac(records: Records, contact: str, mac: str) -> SeenMessage | None:
    """The message that came in the stanza of that authentication code."""
    if not mac:
        return None
    found = (m for _, chunk in _newest_first(records, contact) for m in reversed(chunk.messages) if m.mac == mac)
    return next(found, None)


def find_by_peer_id(records: Records, contact: str, peer_id: str) -> str | None:
    """The id of the newest message that the user's client knows by that id."""
    for _, chunk in _newest_first(records, contact):
        for id_, message in zip(reversed(chunk.ids), reversed(chunk.messages), strict=True):
            if message.peer_id == peer_id:
                return id_
    return None


def remember(records: Records, contact: str, id_: str, message: SeenMessage) -> None:
    """Keep a message; beyond the last 512, the oldest are forgotten."""
    last = records.get(f"seen-last/{contact}", SeenLast)
    number = last.number if last else 0
    chunk = records.get(_name(contact, number), SeenChunk) or SeenChunk((), ())
    if last is None:
        records.put(f"seen-last/{contact}", SeenLast(number))
    elif len(chunk.ids) >= CHUNK:
        number += 1
        records.delete(_name(contact, number - CHUNKS - 1))
        older = last.older + b"".join(map(_mark, chunk.ids))
        records.put(f"seen-last/{contact}", SeenLast(number, older[-CHUNKS * CHUNK * _MARK :]))
        chunk = SeenChunk((), ())
    records.put(_name(contact, number), SeenChunk((*chunk.ids, id_), (*chunk.messages, message)))


def settle(records: Records, contact: str, id_: str, state: str) -> SeenMessage | None:
    """Note what became of a message, and return it; None when it is not known (any more)."""
    for name, chunk in _newest_first(records, contact):
        if id_ in chunk.ids:
            place = chunk.ids.index(id_)
            settled = replace(chunk.messages[place], state=state)
            messages = (*chunk.messages[:place], settled, *chunk.messages[place + 1 :])
            records.put(name, SeenChunk(chunk.ids, messages))
            return settled
    return None


def _newest_first(records: Records, contact: str) -> Iterator[tuple[str, SeenChunk]]:
    last = records.get(f"seen-last/{contact}", SeenLast)
    if last is None:
        return
    for number in range(last.number, max(-1, last.number - CHUNKS - 1), -1):
        name = _name(contact, number)
        chunk = records.get(name, SeenChunk)
        if chunk is not None:
            yield name, chunk


def _mark(id_: str) -> bytes:
    return blake2b(id_.encode(), digest_size=_MARK).digest()


def _name(contact: str, number: int) -> str:
    return f"seen/{contact}/{number}"
