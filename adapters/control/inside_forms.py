"""The same by forms, as clients show commands (XEP-0050). A command keeps nothing: its session's name has the contact.

Which string was compared stands in the form itself, and the half that drives the verification checks it.
"""

from collections.abc import Callable, Mapping

from adapters.control import inside_orders, inside_words, names
from adapters.inside_api import ContactPolicy, Shown, Steering, UserDevice
from crypto.commands import Answer, Form, Order, Question
from crypto.message import Standing

CONTACT, DECISION, MARK = "contact", "decision", "mark"
DEVICE, SAME = "device", "same"
_SIZE = 8
"""Octets of the random part of a session's name."""
_EARLY = "/early"
"""Ends the name of a session in which nothing could begin yet."""


def answered(step: Steering, order: Order) -> Answer | None:
    """One stage of a command; None: there is no such command. `order` is hostile."""
    act = _COMMANDS.get(order.node)
    if act is None or order.standing is Standing.PLAIN:
        return None
    if order.action == "cancel":
        return _cancelled(step, order)
    return act(step, order)


def _contacts(step: Steering, order: Order) -> Answer:
    return _read(step, order, names.CONTACTS, inside_orders.contacts(step))


def _read(step: Steering, order: Order, node: str, text: str, beside: tuple[Question, ...] = ()) -> Answer:
    if order.standing is not Standing.VERIFIED:
        text = f"{text}\n{inside_words.NOTE_UNVERIFIED}"
    form = Form(names.COMMANDS[node], "", (Question("told", "fixed", value=text), *beside))
    return Answer("completed", _session(step), form)


def _fingerprints(step: Steering, order: Order) -> Answer:
    contact = _chosen(step, order)
    if contact is None:
        return _choice(step, order, names.FINGERPRINTS)
    device = inside_orders.contact_device(step, contact)
    found = inside_words.addresses(contact.alias, device) if device is not None else {}
    beside = tuple(
        Question(f"uri-{form}" if form else "uri", "text-single", _SCANNED[form], uri) for form, uri in found.items()
    )
    return _read(step, order, names.FINGERPRINTS, inside_orders.fingerprints(step, contact.id), beside)


_SCANNED = {"": "Address that most clients scan", inside_words.KAIDAN: "Address that Kaidan scans"}


def _devices(step: Steering, order: Order) -> Answer:
    return _read(step, order, names.DEVICES, inside_orders.devices(step))


def _trust(step: Steering, order: Order) -> Answer:
    """Choose a device and a decision; compare; done. What was shown stands in the form, by its key."""
    if order.standing is not Standing.VERIFIED:
        return _failed(step, order, inside_words.UNVERIFIED)
    known = {device.key: device for device in inside_orders.user_devices(step) if device.key}
    device, decision = known.get(order.answers.get(DEVICE, "")), order.answers.get(DECISION, "")
    if device is None or decision not in inside_words.SAME or order.action == "prev":
        return _which_device(step, order, tuple(known.values()))
    same = order.answers.get(SAME)
    if same not in ("yes", "no"):
        return _to_confirm(step, device, decision)
    if same == "no":
        return _failed(step, order, inside_words.LEFT[decision])
    code = step.trust_key(_DECISIONS[decision], device.key)
    note = inside_words.key_decided(code)
    return Answer("completed", order.session or _session(step), note=note, failed=code != "ok")


_DECISIONS = {"trust": "verify", "distrust": "distrust"}


def _which_device(step: Steering, order: Order, known: tuple[UserDevice, ...]) -> Answer:
    if not known:
        return _failed(step, order, inside_words.NO_DEVICES)
    which = tuple((device.key, inside_words.device_state(device)) for device in known)
    decisions = (("trust", "Trust it"), ("distrust", "Do not trust it"))
    questions = (
        Question(DEVICE, "list-single", "Device", choices=which),
        Question(DECISION, "list-single", "Decision", choices=decisions),
    )
    form = Form(names.COMMANDS[names.TRUST], inside_words.WHICH_DEVICE, questions)
    return Answer("executing", _session(step), form)


def _to_confirm(step: Steering, device: UserDevice, decision: str) -> Answer:
    head = inside_words.COMPARE if decision == "trust" else inside_words.TO_DISTRUST
    choices = (("no", inside_words.ANOTHER[decision]), ("yes", inside_words.SAME[decision]))
    questions = (
        Question("shown", "fixed", value=f"{head}\n{inside_words.device(device)}"),
        Question(DEVICE, "hidden", value=device.key),
        Question(DECISION, "hidden", value=decision),
        Question(SAME, "list-single", "So?", choices=choices),
    )
    return Answer("executing", _session(step), Form(names.COMMANDS[names.TRUST], "", questions))


def _verify(step: Steering, order: Order) -> Answer:
    if order.standing is not Standing.VERIFIED:
        return _failed(step, order, inside_words.UNVERIFIED)
    contact, decision = _chosen(step, order), order.answers.get(DECISION)
    if contact is None:
        return _choice(step, order, names.VERIFY)
    if _of_session(step, order.session) is None or order.session.endswith(_EARLY):
        code, shown = step.drive(contact, "begin")
        if code in inside_orders.SOON:
            return _wait(_session(step, contact) + _EARLY, contact, inside_words.begun(contact.id, code))
        if code not in ("ok", "under-way"):
            return _failed(step, order, inside_words.begun(contact.id, code))
    elif decision in ("match", "differ"):
        code, shown = step.drive(contact, decision, order.answers.get(MARK, ""))
        if code != "ok":
            return _failed(step, order, inside_words.decided(contact.id, code))
    else:
        _, shown = step.drive(contact, "show")
    return _stage(step, order, contact, shown)


def _stage(step: Steering, order: Order, contact: ContactPolicy, shown: Shown) -> Answer:
    """What is shown while a verification stands so."""
    session = _session(step, contact)
    if shown.state in ("verified", "finished"):
        return Answer("completed", session, note=inside_words.standing(contact.id, shown))
    if shown.state in ("cancelled", "none"):
        return _failed(step, order, inside_words.standing(contact.id, shown))
    if shown.state != "comparing":
        return _wait(session, contact, inside_words.standing(contact.id, shown))
    seen = Question("shown", "fixed", value="\n".join(inside_words.to_compare(shown)))
    choices = (("match", "They see exactly the same"), ("differ", "They see something else"))
    asked = Question(DECISION, "list-single", f"What does {contact.id} see?", choices=choices)
    questions = (seen, Question(MARK, "hidden", value=shown.mark), asked)
    return Answer("executing", session, Form(_title(contact), inside_words.MEANS, questions))


def _wait(session: str, contact: ContactPolicy, said: str) -> Answer:
    text = f"{said} Go on (“next”) to see how it stands."
    return Answer("executing", session, Form(_title(contact), "", (Question("told", "fixed", value=text),)))


def _title(contact: ContactPolicy) -> str:
    return f"Verify {contact.id}"


def _choice(step: Steering, order: Order, node: str) -> Answer:
    known = [(leg, contact) for leg, contact in inside_orders.legs(step) if leg.identity is not None]
    if not known:
        return _failed(step, order, inside_words.NOBODY)
    choices = tuple((contact.id, inside_words.contact(leg, contact.address)) for leg, contact in known)
    asked = Question(CONTACT, "list-single", "Contact", choices=choices)
    return Answer("executing", _session(step), Form(names.COMMANDS[node], "Whom do you mean?", (asked,)))


def _cancelled(step: Steering, order: Order) -> Answer:
    contact = _of_session(step, order.session)
    if contact is not None and order.node == names.VERIFY and order.standing is Standing.VERIFIED:
        step.drive(contact, "cancel")
    return Answer("canceled", order.session or _session(step))


def _failed(step: Steering, order: Order, note: str) -> Answer:
    return Answer("completed", order.session or _session(step), note=note, failed=True)


def _chosen(step: Steering, order: Order) -> ContactPolicy | None:
    """The contact that the session is about, or that was chosen now."""
    return _of_session(step, order.session) or inside_orders.found(step, order.answers.get(CONTACT, ""))


def _session(step: Steering, contact: ContactPolicy | None = None) -> str:
    drawn = step.draw("command", _SIZE).hex()
    return f"{drawn}/{contact.id}" if contact is not None else drawn


def _of_session(step: Steering, session: str) -> ContactPolicy | None:
    _, _, name = session.removesuffix(_EARLY).partition("/")
    return inside_orders.found(step, name) if name else None


_COMMANDS: Mapping[str, Callable[[Steering, Order], Answer]] = {
    names.CONTACTS: _contacts,
    names.FINGERPRINTS: _fingerprints,
    names.VERIFY: _verify,
    names.DEVICES: _devices,
    names.TRUST: _trust,
}
