"""Events that wait: for the key of their session, or for a decision about who wrote them."""

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix import inside_missing, inside_notices, inside_origin, inside_withheld
from adapters.matrix.inside_state import Parked
from adapters.matrix.names import (
    IDENTITY_CHANGED,
    NOT_CROSS_SIGNED,
    NOT_VERIFIED,
    TOLD_DEVICE_UNSIGNED,
    TOLD_KEY_NOT_PROVED,
    TOLD_LEFT_OUT,
    TOLD_NOT_VERIFIED,
)

MOST_PARKED = 1_000
MOST_OCTETS = 128 << 10
"""Of an event that is parked: as federated it has at most 64 KiB."""
MOST_PARKED_OCTETS = 64 << 20
"""Of all events of an account that are parked: a third of the state that it may have."""
MOST_PARKED_OCTETS_OF_ONE = 8 << 20
"""Of those of one contact."""
PLACE = 16
"""Characters of the position with which the name of a record ends."""
UNSIGNED_DEVICE = "unsigned-device"
DISBELIEF = frozenset({IDENTITY_CHANGED, NOT_CROSS_SIGNED, NOT_VERIFIED, UNSIGNED_DEVICE, inside_origin.NOT_PROVED})
_TOLD = {
    NOT_CROSS_SIGNED: TOLD_DEVICE_UNSIGNED,
    UNSIGNED_DEVICE: TOLD_DEVICE_UNSIGNED,
    NOT_VERIFIED: TOLD_NOT_VERIFIED,
    inside_origin.NOT_PROVED: TOLD_KEY_NOT_PROVED,
}
"""What the user is told of messages that are parked for these; of a changed identity they are told anyway."""


def park(step: Step, contact: ContactPolicy, session_id: str, parked: Parked) -> None:
    """Keep an event of that session until its key comes, or until its device is believed."""
    if len(parked.event) > MOST_OCTETS:
        _left_out(step, contact, "event-too-large", step.position)
        return
    if not _make_room(step, contact, len(parked.event)):
        _left_out(step, contact, "parked-overflow", step.position)
        return
    step.records.put(f"parked/{contact.address}/{session_id}/{parked.position:0{PLACE}d}", parked)
    step.report(f"parked-{parked.reason}", contact.id)
    step.trace(parked.position, "parked", parked.reason)
    tell(step, contact, parked.reason)
    if parked.reason in inside_withheld.KEYLESS:
        step.report(f"undecryptable-{parked.reason}", contact.id)
        inside_missing.noted(step, contact.address, session_id, parked.room_id)
        inside_withheld.told_user(step, contact, parked.reason)


def tell(step: Step, contact: ContactPolicy, reason: str) -> None:
    """Tell the user that a message is held, if it is for such a reason."""
    if reason in _TOLD:
        inside_notices.tell(step, contact, _TOLD[reason])


def _left_out(step: Step, contact: ContactPolicy, code: str, position: int) -> None:
    """It cannot wait here: as with what was missed, the user is told, at most once in a minute."""
    step.report(code, contact.id)
    step.trace(position, "refused", code)
    inside_notices.tell(step, contact, TOLD_LEFT_OUT)
    inside_notices.over(step, contact, TOLD_LEFT_OUT)


def _make_room(step: Step, contact: ContactPolicy, octets: int) -> bool:
    """Whether an event of that size can wait: those of the contact's give way that have waited longest for a key.

    It would come now, if it came at all. What has its key, and waits for somebody's decision, stays.
    """
    prefix = f"parked/{contact.address}/"
    sizes = {name: len(parked.event) for name, parked in _held_by(step, "parked/").items()}
    mine = _held_by(step, prefix)
    count, of_one, of_all = len(mine) + 1, sum(map(sizes.__getitem__, mine)) + octets, sum(sizes.values()) + octets
    waiting = [name for name in mine if mine[name].reason in inside_withheld.KEYLESS]
    gone = []
    for name in sorted(waiting, key=lambda name: name[-PLACE:]):
        if count <= MOST_PARKED and of_one <= MOST_PARKED_OCTETS_OF_ONE and of_all <= MOST_PARKED_OCTETS:
            break
        gone.append(name)
        count, of_one, of_all = count - 1, of_one - sizes[name], of_all - sizes[name]
    if count > MOST_PARKED or of_one > MOST_PARKED_OCTETS_OF_ONE or of_all > MOST_PARKED_OCTETS:
        return False
    for name in gone:
        step.records.delete(name)
        _left_out(step, contact, "parked-overflow", mine[name].position)
    return True


def _held_by(step: Step, prefix: str) -> dict[str, Parked]:
    held = ((name, step.records.get(name, Parked)) for name in list(step.records.names(prefix)))
    return {name: parked for name, parked in held if parked is not None}
