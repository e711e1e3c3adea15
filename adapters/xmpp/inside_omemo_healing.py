"""What is said by OMEMO beside messages: empty ones that answer or heal, receipts, refusals."""

from adapters.inside_api import AnyValue
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_binding import pinned
from adapters.xmpp.inside_omemo_devices import recipients
from adapters.xmpp.inside_omemo_given_up import spared
from adapters.xmpp.inside_omemo_mending import healing_bundle, to_heal
from adapters.xmpp.inside_omemo_own import omemo_on, store_of
from adapters.xmpp.inside_omemo_sending import sealed_for
from adapters.xmpp.inside_omemo_where import device_at
from adapters.xmpp.inside_stanzas import is_opaque, receipt_content, text_content
from adapters.xmpp.inside_state import SeenMessage
from adapters.xmpp.names import OMEMO_ASIDE, RECEIPT, Resources, address_of, bare
from adapters.xmpp.sentences import explanation
from bridge.wire.values import Code, Opaque, Sealed
from crypto.omemo.conversation import empty
from crypto.omemo.faults import OmemoError
from crypto.omemo.model import Peer
from crypto.omemo.names import Namespace
from crypto.xml import serialize

_MARK = {Namespace.OMEMO_2: "omemo:2:", Namespace.AXOLOTL: "axolotl:"}


def mark_of_form(namespace: Namespace) -> str:
    """How `SeenMessage.mac` begins for messages that came in that form; codes of ESessions hold no colon."""
    return _MARK[namespace]


def came_by_omemo(message: SeenMessage) -> bool:
    """Whether the message came by OMEMO."""
    return message.mac.startswith(tuple(_MARK.values()))


# ---------------------------------------------------------------- empty messages
def heal(at: LegStep) -> None:
    """Begin new sessions with devices whose messages could not be read, as far as their keys are here."""
    for peer in to_heal(at) if omemo_on(at.contact) else ():
        bundle = healing_bundle(at, peer)
        if bundle is None:
            continue
        made = None
        try:
            made = empty(store_of(at), at.step.draw, peer, bundle=bundle, known=pinned(at, peer.device_id))
        except OmemoError:
            at.report("omemo-not-healed")
        if made is not None:
            aside(at, serialize(made))


def answer_device(at: LegStep, peer: Peer) -> None:
    """An empty message: the device's session is complete, or its ratchet moves on."""
    made = None
    try:
        made = empty(store_of(at), at.step.draw, peer)
    except OmemoError:
        at.report("omemo-not-answered")
    if made is not None:
        aside(at, serialize(made))


def aside(at: LegStep, content: bytes, form: str | None = None, *, stanza_id: str | None = None) -> None:
    """Send what nothing waits for. `form`: it is a text, and clients that cannot read it are told that there is one."""
    values: dict[str, AnyValue] = {
        "from": at.contact_jid,
        "to": address_of(bare(at.step.account.near_address)),
        "id": Opaque(v=stanza_id or f"o-{at.step.draw('stanza-id', 8).hex()}"),
        "content": Sealed(v=content),
    }
    if form is not None:
        values["form"] = Code(v=form)
    at.spent += len(content)
    at.step.carry(OMEMO_ASIDE, values, lane=at.lane)


# ---------------------------------------------------------------- what became of the user's messages
def tell_by_omemo(at: LegStep, message: SeenMessage, code: str | None) -> None:
    """A receipt, or with a code a refusal, for a message that came by OMEMO."""
    if code is not None:
        _refuse(at, message, code)
    elif message.peer_id is not None:
        _receipt(at, message, message.peer_id)


def _receipt(at: LegStep, message: SeenMessage, message_id: str) -> None:
    """In omemo:2 it is content like any other. The older form has no place for it but beside the ciphertext, and
    neither has a device that cannot be written to just now: better told so than not at all.
    """
    sealed = message.mac.startswith(_MARK[Namespace.OMEMO_2])
    if sealed and _say(at, message_id, device_at(at, message.by)):
        return
    if not is_opaque(message_id):
        at.report("receipt-omitted")
        return
    values: dict[str, AnyValue] = {
        "from": at.contact_jid,
        "to": address_of(bare(at.step.account.near_address)),
        "id": Opaque(v=f"n-{at.step.draw('stanza-id', 8).hex()}"),
        "received": Opaque(v=message_id),
    }
    at.step.carry(RECEIPT, values, lane=at.lane)


def _say(at: LegStep, message_id: str, writer: int | None) -> bool:
    """The receipt as an envelope; False: it would not reach the device that waits for it."""
    found = spared(at, recipients(at).ready)
    ready = tuple(each for each in found if each.peer.namespace is Namespace.OMEMO_2)
    reached = any(each.peer.device_id == writer for each in ready)
    made = sealed_for(at, ready, {Namespace.OMEMO_2: receipt_content(message_id)}) if reached else None
    if made is not None:
        aside(at, made[0])
    return made is not None


def _refuse(at: LegStep, message: SeenMessage, code: str) -> None:
    """An error is shown beside the message. Servers drop errors for clients that are gone: those are told in a text."""
    resources = at.step.records.get("resources", Resources)
    there = resources is None or any(jid == message.once for jid, _ in resources.available)
    if there or not resources or not resources.complete or not _write(at, explanation(code).sentence):
        to = message.once or at.step.account.near_address
        at.error(to, message.peer_id, code, by=bare(at.contact.alias))  # OMEMO clients write to that one


def _write(at: LegStep, sentence: str) -> bool:
    """The sentence as a text of the contact's; False: no device is reached."""
    stanza_id = f"n-{at.step.draw('stanza-id', 8).hex()}"
    content = {
        Namespace.AXOLOTL: sentence.encode(),
        Namespace.OMEMO_2: text_content(sentence, stanza_id, receipt=False),
    }
    ready = spared(at, recipients(at).ready)
    made = sealed_for(at, ready, content) if ready else None
    if made is not None:
        aside(at, *made)
    return made is not None
