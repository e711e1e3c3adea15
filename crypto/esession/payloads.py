"""What a `<message/>` stanza holds for us: telling the payloads apart, and the forms that end things."""

from enum import StrEnum

from crypto.esession import names
from crypto.esession.forms import (
    Form,
    FormKind,
    MalformedForm,
    is_negotiation_form,
    read_form,
    write_answer,
    write_form,
)
from crypto.xml import CLIENT, Element, serialize


class Payload(StrEnum):
    """What a stanza is, by its look: nothing is checked yet."""

    REQUEST = "request"
    RESPONSE = "response"
    COMPLETION = "completion"
    INIT = "init"
    DECLINE = "decline"
    TERMINATE = "terminate"
    ACKNOWLEDGE = "acknowledge"
    RENEGOTIATE = "renegotiate"
    """Another form of session negotiation; nothing of the kind is implemented."""
    ENCRYPTED = "encrypted"
    ERROR = "error"


def kind_of(stanza: Element) -> Payload | None:
    """What a `<message/>`, `<presence/>` or `<iq/>` stanza is to an ESession; None when it is nothing of ours."""
    if encrypted(stanza) is not None and negotiation_form(stanza) is None:
        return Payload.ENCRYPTED
    if stanza.attribute("type") == "error":
        return Payload.ERROR if encrypted_in_error(stanza) is None else Payload.ENCRYPTED
    if stanza.name != "message":  # negotiations are made of messages only
        return None
    x = negotiation_form(stanza)
    if x is None:
        return None
    if stanza.child(names.INIT, "init") is not None:
        return Payload.INIT
    return form_payload(x)


def encrypted(stanza: Element) -> Element | None:
    """The `<c/>` element of a stanza."""
    return stanza.child(names.STANZA, "c")


def encrypted_in_error(stanza: Element) -> Element | None:
    """The `<c/>` element in the `<error/>` of a stanza."""
    error = stanza.child(stanza.namespace, "error")
    return None if error is None else error.child(names.STANZA, "c")


def negotiation_form(parent: Element) -> Element | None:
    """The `<x/>` of a negotiation message, in `<init/>` or `<feature/>`."""
    for wrapper in (parent.child(names.INIT, "init"), parent.child(names.NEGOTIATION, "feature")):
        x = None if wrapper is None else wrapper.child(names.DATA, "x")
        if x is not None and is_negotiation_form(x):
            return x
    return None


def thread_of(stanza: Element) -> str | None:
    """The thread of a stanza, which names its session."""
    thread = stanza.child(stanza.namespace, "thread")
    return None if thread is None else thread.text


def error_condition(stanza: Element) -> str:
    """The defined condition of an error stanza; `undefined-condition` when it has none."""
    error = stanza.child(stanza.namespace, "error")
    found = [] if error is None else [e.name for e in error.elements if e.namespace == names.STANZA_ERRORS]
    return next((name for name in found if name != "text"), "undefined-condition")


def error_fields(stanza: Element) -> tuple[str, ...]:
    """The fields that an error stanza names, of those that we know."""
    error = stanza.child(stanza.namespace, "error")
    feature = None if error is None else error.child(names.NEGOTIATION, "feature")
    named = () if feature is None else tuple(e.attribute("var") or "" for e in feature.elements if e.name == "field")
    return tuple(var for var in named if var in names.KNOWN)


def form_payload(x: Element) -> Payload | None:
    """What a negotiation form is. A malformed one counts as what its type says, to be refused as that."""
    try:
        form = read_form(x)
    except MalformedForm:
        form = None
    kind = x.attribute("type")
    if form is None:
        return {"form": Payload.REQUEST, "submit": Payload.RESPONSE, "result": Payload.COMPLETION}.get(kind or "")
    if form.kind is FormKind.FORM:
        return Payload.RENEGOTIATE if form.field("accept") is None else Payload.REQUEST
    if form.says_yes("terminate") and form.field("identity") is None:
        return Payload.TERMINATE if form.kind is FormKind.SUBMIT else Payload.ACKNOWLEDGE
    return _reply_payload(form)


def _reply_payload(form: Form) -> Payload:
    if form.field("accept") is not None and not form.says_yes("accept"):
        return Payload.DECLINE
    if form.kind is FormKind.SUBMIT and form.field("dhkeys") is not None:
        return Payload.RESPONSE
    if form.field("srshash") is not None:
        return Payload.INIT
    if form.kind is FormKind.RESULT and form.field("accept") is not None:
        return Payload.COMPLETION
    if form.kind is FormKind.SUBMIT and form.field("accept") is not None:
        return Payload.RESPONSE
    return Payload.RENEGOTIATE


# ---------------------------------------------------------------------------------------------------- writing
def feature(x: Element) -> bytes:
    """A form in `<feature/>`, serialised."""
    return serialize(Element(names.NEGOTIATION, "feature", (), (x,)), inherited=CLIENT)


def init(x: Element) -> bytes:
    """A form in `<init/>`, serialised."""
    return serialize(Element(names.INIT, "init", (), (x,)), inherited=CLIENT)


def decline(kind: FormKind = FormKind.SUBMIT) -> bytes:
    """The form that declines or cancels; the deployed implementation uses `submit` in either role."""
    return feature(write_form(kind, write_answer("accept", "0")))


def termination() -> bytes:
    """The form that ends a session."""
    return feature(write_form(FormKind.SUBMIT, write_answer("terminate", "1")))


def acknowledgement() -> bytes:
    """The form that acknowledges a termination."""
    return feature(write_form(FormKind.RESULT, write_answer("terminate", "1")))
