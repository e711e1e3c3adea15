"""What was missed and is not fetched: the user is told, for nothing vanishes silently."""

import msgspec

from adapters.inside_api import Step
from adapters.matrix import inside_notices, inside_rooms
from adapters.matrix.names import TOLD_LEFT_OUT
from crypto.olm.canonical import decoded


class LeftOutArrival(msgspec.Struct):
    """Body of a `left-out` arrival."""

    contact: str
    room_id: str


def left_out(step: Step, body: bytes) -> None:
    """Messages of a contact's were not fetched. Counted each time, told once in a minute. Raises Malformed."""
    arrival = decoded(body, LeftOutArrival)
    contact = step.account.contact_by_address("matrix", arrival.contact)
    if contact is None or not inside_rooms.is_room_of(step, contact, arrival.room_id):
        step.report("left-out-stranger")
        return
    step.report(TOLD_LEFT_OUT, contact.id)
    inside_notices.tell(step, contact, TOLD_LEFT_OUT)
    inside_notices.over(step, contact, TOLD_LEFT_OUT)
