"""The Matrix half in the enclave: what comes in, and which part takes care of it."""

from collections.abc import Mapping, Sequence

import msgspec

from adapters.inside_api import AccountPolicy, ContactPolicy, LegStatus, OwnIdentity, Shown, Step
from adapters.matrix import (
    inside_backup,
    inside_backup_writing,
    inside_devices,
    inside_history,
    inside_identity,
    inside_key_requests,
    inside_late,
    inside_missing,
    inside_notices,
    inside_olm,
    inside_own,
    inside_peers,
    inside_recovery,
    inside_returned,
    inside_rooms,
    inside_sending,
    inside_signals,
    inside_status,
    inside_talks,
    inside_telling,
    inside_timeline,
    inside_timers,
    inside_todevice,
    inside_verification,
    inside_verification_person,
    inside_vouching,
    names,
)
from adapters.matrix.inside_content import queued_of, refusal
from adapters.matrix.inside_files import matrix_files
from adapters.matrix.inside_state import Line, Queued
from bridge.wire.link import Input
from bridge.wire.values import RequestShape
from crypto.content import Part
from crypto.message import Assurance, Kind, Message, Signal
from crypto.olm.canonical import decoded
from crypto.olm.errors import OlmError
from crypto.records import Records

_IDENTITY = frozenset(
    {names.SIGNING_KEYS_UPLOAD, names.SIGNATURES_UPLOAD, names.ACCOUNT_DATA_PUT, names.ACCOUNT_DATA_GET}
)


class _DeviceLists(msgspec.Struct):
    changed: list[str] = []
    left: list[str] = []


class _Keys(msgspec.Struct):
    device_one_time_keys_count: dict[str, int] | None = None
    device_unused_fallback_key_types: list[str] | None = None
    device_lists: _DeviceLists | None = None
    full: bool = False


class MatrixInside:
    """Olm and Megolm towards the Matrix contacts of an account. All state is in the records of the step."""

    network = names.NETWORK
    requests: Mapping[str, RequestShape] = names.REQUESTS

    def __init__(self) -> None:
        self._files = matrix_files()  # ciphers in the middle of files cannot be written down

    def started(self, step: Step, *, resumed: bool) -> None:
        """Go on. Not `resumed`: sending keys may have been used in a future that was rolled back, so none is again."""
        if not resumed:
            inside_sending.forget_sessions(step)
            inside_olm.forget_sending(step)
            inside_verification.interrupted(step)
        _drop_lines_of_strangers(step)
        inside_telling.started(step)
        inside_identity.proceed(step)
        inside_sending.advance_all(step)
        inside_backup.started(step)
        room = inside_timeline.OPENED_AT_ONCE
        for contact in _contacts(step.account):  # the operator may have changed who is believed
            room = inside_timeline.reconsider(step, contact, room)
        inside_missing.started(step)
        self._files.started(step)

    def arrived(self, step: Step, arrival: Input) -> None:
        """Something came from the homeserver. What is wrong with it is counted, and changes nothing."""
        handlers = {
            names.EVENT: lambda: inside_timeline.arrived(step, arrival.body),
            names.TO_DEVICE: lambda: inside_todevice.arrived(step, arrival.body),
            names.KEYS: lambda: self._keys(step, arrival),
            names.ROOM: lambda: self._room(step, arrival),
            names.DEVICE: lambda: self._device(step, arrival),
            names.LEFT_OUT: lambda: inside_history.left_out(step, arrival.body),
            names.SIGNAL: lambda: inside_signals.arrived(step, arrival.body),
            names.PROFILE: lambda: inside_signals.profile_arrived(step, arrival.body),
        }
        handler = handlers.get(arrival.name)
        if handler is None:
            step.report("arrival-unknown")
            return
        try:
            handler()
        except OlmError as error:
            step.report(f"{arrival.name}-{error.code}")
            if arrival.name == names.EVENT:
                step.trace(arrival.position, "refused", error.code)

    def answered(self, step: Step, answer: Input) -> None:
        """A request was carried out or failed for good."""
        if self._files.answered(step, answer):
            return
        if answer.name in (names.ROOM_SEND, names.ROOM_REACT, names.ROOM_REDACT):
            inside_sending.sent(step, answer)
        elif answer.name == names.SEND_TO_DEVICE:
            inside_sending.shared(step, answer)
        elif answer.name == names.KEYS_QUERY:
            self._queried(step, answer)
        elif answer.name == names.KEYS_CLAIM:
            self._claimed(step, answer)
        elif answer.name == names.ROOM_OBTAIN:
            self._obtained(step, answer)
        elif answer.name in _IDENTITY:
            if not inside_recovery.answered(step, answer):
                inside_identity.answered(step, answer)
            inside_sending.advance_all(step)
        elif answer.name == names.KEYS_UPLOAD and inside_own.uploaded(step, answer):
            inside_identity.proceed(step)
            inside_sending.advance_all(step)

        inside_vouching.answered(step, answer)
        inside_verification.answered(step, answer)
        self._backup_answered(step, answer)

    def woken(self, step: Step, name: str) -> None:
        """A time has come that was asked for."""
        inside_timers.woken(step, name)
        plain = {
            inside_backup_writing.TIMER: inside_backup.proceed,
            inside_missing.TIMER: inside_missing.woken,
            inside_timeline.TIMER: inside_timeline.woken,
            inside_notices.TIMER: inside_notices.woken,
        }
        if name in plain:
            plain[name](step)
        elif name == inside_own.TIMER:
            inside_own.woken(step)
        elif name == inside_devices.TIMER:
            inside_devices.woken(step)
            inside_sending.advance_all(step)
        elif name == inside_sending.TIMER:
            inside_sending.advance_all(step)
        elif name == inside_identity.TIMER:
            inside_identity.proceed(step)
            inside_sending.advance_all(step)
        elif name in (inside_talks.TIMER, inside_vouching.RETRY):
            inside_verification.woken(step)
        elif name == inside_vouching.TIMER:
            room = inside_timeline.OPENED_AT_ONCE
            for contact in _contacts(step.account):
                room = self._decided(step, contact, room)

    def to_network(self, step: Step, contact: ContactPolicy, message: Message) -> None:
        """Send a message; ends in `delivered` when the homeserver has its event, or in `failed`."""
        if not self._files.send(step, contact, message):
            inside_sending.send(step, contact, queued_of(message))

    def file_wanted(self, step: Step, contact: ContactPolicy, message_id: str, offset: int) -> None:
        """A part of the file of a message of the contact's."""
        self._files.wanted(step, contact, message_id, offset)

    def file_part(self, step: Step, contact: ContactPolicy, message_id: str, part: Part) -> None:
        """A part of a file that goes to the contact."""
        self._files.part(step, contact, message_id, part)

    def signalled(self, step: Step, contact: ContactPolicy, signal: Signal) -> None:
        """Told to the homeserver, in clear, as far as the policy goes."""
        inside_telling.told(step, contact, signal)

    def acknowledged(self, step: Step, contact: ContactPolicy, message_id: str) -> None:
        """Nothing to tell: a Matrix client shows its event as sent once its homeserver has it."""
        self._files.settled(step, contact, message_id)

    def refused(self, step: Step, contact: ContactPolicy, message_id: str, code: str) -> None:
        """Tell the contact, encrypted, why a message of theirs did not arrive."""
        self._files.settled(step, contact, message_id)
        inside_sending.send(step, contact, Queued(message_id, Kind.NOTICE, 0, True, refusal(code)))

    def assurance(self, records: Records, contact: ContactPolicy) -> Assurance:
        """End-to-end, always: there is no other way out of here."""
        return Assurance.END_TO_END

    def status(self, records: Records, account: AccountPolicy) -> Sequence[LegStatus]:
        """How the legs stand."""
        return [inside_status.leg(records, contact) for contact in _contacts(account)]

    def own_identity(self, records: Records, account: AccountPolicy) -> OwnIdentity:
        """How the account's cross-signing identity stands."""
        return inside_status.own(records, account)

    def recovery_key(self, step: Step) -> tuple[str, str | None]:
        """The recovery key of the secret storage we made, once."""
        return inside_identity.recovery_key_to_show(step)

    def recover(self, step: Step, secret: str) -> str:
        """Join the identity that another client made for this account."""
        return inside_recovery.begin(step, secret)

    def trust(self, step: Step, contact: ContactPolicy, decision: str) -> str:
        """`verify`: the contact's identity was compared. `approve`: a new one is taken. `distrust`: forget both."""
        code = inside_peers.decided(step, contact, decision)
        if code == "ok" and decision == "verify":
            inside_vouching.compared(step, contact)
        elif code == "ok":
            inside_vouching.withdrawn(step, contact)
        if code == "ok":
            self._decided(step, contact)
        return code

    def verification(
        self, step: Step, contact: ContactPolicy, action: str, compared: str | None, by: str = "operator"
    ) -> tuple[str, Shown]:
        """The verification of a contact by emoji or a code, as the person at our end drives it."""
        if action in ("begin", "begin-to-device", "begin-code"):
            to_device, scan = action == "begin-to-device", action == "begin-code"
            code = inside_verification_person.begin(step, contact, to_device=to_device, code=scan)
        else:
            code = "ok" if action == "show" else inside_verification_person.decide(step, contact, action, compared, by)
        return code, inside_verification_person.shown(step, contact)

    def _decided(self, step: Step, contact: ContactPolicy, room: int = inside_timeline.OPENED_AT_ONCE) -> int:
        """Who is believed and served may be others now. `room`: see inside_timeline.reconsider."""
        inside_sending.reconsider(step, contact)
        room = inside_timeline.reconsider(step, contact, room)
        inside_sending.advance(step, contact)
        return room

    # ---------------------------------------------------------------- one arrival or answer
    def _device(self, step: Step, arrival: Input) -> None:
        if inside_own.logged_in(step, arrival):
            inside_olm.forget_all(step)
            for contact in _contacts(step.account):
                inside_sending.forget_session(step, contact)
            inside_devices.all_outdated(step)

    def _keys(self, step: Step, arrival: Input) -> None:
        told = decoded(arrival.body, _Keys)
        if told.full:
            inside_devices.all_outdated(step)
        changed = told.device_lists.changed if told.device_lists is not None else []
        for user in dict.fromkeys(changed):
            if inside_devices.outdated(step, user):
                self._reconsider(step, user)
        inside_own.stock_told(step, told.device_one_time_keys_count, told.device_unused_fallback_key_types)

    def _room(self, step: Step, arrival: Input) -> None:
        contact = inside_rooms.told(step, arrival.body)
        if contact is not None:
            inside_sending.reconsider(step, contact)
            inside_sending.advance(step, contact)

    def _queried(self, step: Step, answer: Input) -> None:
        own = inside_own.own_state(step)
        user = inside_devices.answered(step, answer, own) if own is not None else None
        if user is not None:
            contact = step.account.contact_by_address("matrix", user)
            if contact is not None:
                inside_peers.listed(step, contact)
            self._reconsider(step, user)
            inside_todevice.rebind(step, user)
            if contact is not None:
                inside_timeline.reconsider(step, contact)
            if own is not None and user == own.device.user_id:
                inside_recovery.adopt(step)
                inside_identity.listed_again(step)
            inside_sending.advance_all(step)

    def _claimed(self, step: Step, answer: Input) -> None:
        own = inside_own.own_state(step)
        if own is not None and inside_olm.claimed(step, answer, own):
            inside_sending.advance_all(step)
            inside_key_requests.answer_all(step)
            inside_olm.claim_for_wedged(step)

    def _backup_answered(self, step: Step, answer: Input) -> None:
        if answer.name == names.BACKUP_GET:
            inside_late.fetched(step, answer)
        elif inside_backup.answered(step, answer):
            inside_missing.hurry(step)
        elif answer.name in _IDENTITY or answer.name == names.KEYS_QUERY:
            inside_backup.identity_moved(step)

    def _obtained(self, step: Step, answer: Input) -> None:
        outcome = inside_rooms.obtained(step, answer)
        if outcome is None:
            return
        contact, code = outcome
        if code is not None:
            inside_sending.fail_line(step, contact, code)
            return
        room = inside_rooms.room_of(step, contact)
        if room is not None and room.problem is not None:  # also: the contact left it while it was made
            inside_sending.fail_line(step, contact, room.problem)
        inside_sending.reconsider(step, contact)
        inside_sending.advance(step, contact)

    def _reconsider(self, step: Step, user: str) -> None:
        """The user's devices are no longer what they were: the user's own concern every contact's session."""
        for contact in _contacts(step.account):
            if user in (contact.address, step.account.far_addresses.get("matrix")):
                inside_sending.reconsider(step, contact)


def _contacts(account: AccountPolicy) -> list[ContactPolicy]:
    return [contact for contact in account.contacts if contact.network == names.NETWORK]


def _drop_lines_of_strangers(step: Step) -> None:
    """What waited for an address that is off the map will never be sent: whoever still has the contact is told."""
    mapped = {contact.address for contact in _contacts(step.account)}
    inside_returned.drop(step, mapped)
    inside_sending.forget_sessions(step, kept=mapped)
    for name in list(step.records.names("line/")):
        address = name.removeprefix("line/")
        if address not in mapped:
            line = step.records.get(name, Line) or Line()
            for waiting in list(step.records.names(f"queue/{address}/")):
                _drop(step, line.contact, step.records.get(waiting, Queued))
                step.records.delete(waiting)
            step.records.delete(name)
            step.report("contact-removed")


def _drop(step: Step, contact: str, message: Queued | None) -> None:
    if message is None or message.notice:
        return
    step.trace(message.position, "refused", names.CONTACT_CHANGED)
    if step.account.contact_by_id(contact) is not None:
        step.failed(contact, message.message_id, names.CONTACT_CHANGED)
