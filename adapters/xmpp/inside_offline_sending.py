"""Messages for a user who is offline, sealed to the options that the user's client published (XEP-0187).

`offline-user/CONTACT`   UserOptions   what is known of them

Every message is a session of its own, ended by its one stanza ("object encryption"): nothing is kept that could be
used twice. The message stays in the queue until it is acknowledged; the next online session carries it again under
the same id, and clients drop the double.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from adapters.inside_api import AnyValue, Step
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_offline import OfflinePolicy
from adapters.xmpp.inside_queue import content_of
from adapters.xmpp.inside_state import SECOND_MS, SENT_AT_ONCE, Queued
from adapters.xmpp.names import address_of, bare
from adapters.xmpp.pep.names import FETCH, OFFLINE, OPTIONS, OPTIONS_SUBSCRIBERS, Items
from bridge.wire.values import Code, Opaque, Public, Sealed
from crypto.esession.identities import Identity
from crypto.esession.offline_options import Options, read_options
from crypto.esession.offline_refusals import OfflineFlaw, OfflineRefusal
from crypto.esession.offline_sending import Begun, begin, choose, require_current, require_signed
from crypto.primitives.ciphers import sha256
from crypto.xml import Element, MalformedXml, parse, serialize

ASK_AGAIN_MS = 600 * SECOND_MS
"""How long the answer that there are no options is believed."""
ANSWER_MS = 60 * SECOND_MS
"""How long an answer is waited for before it is asked for again."""
MAX_AT_ONCE = 16
"""Messages sealed in one step: each costs two exponentiations and a signature."""
_SPENT = 16
_MARK = 8


@dataclass(frozen=True, slots=True)
class UserOptions:
    """The user's options, as they were last found. They are judged again whenever they are used."""

    asked_ms: int = 0
    asking: str = ""
    """The code of the node that was asked for; empty: no answer is awaited."""
    form: bytes = field(default=b"", repr=False)
    """The `<x/>`, serialised; empty: none."""
    node: str = ""
    """Where it was found."""
    sent: int = 0
    """Messages of the queue before this number were sent offline."""
    more_ms: int = 0
    """When to go on with what was too much for one step; 0: that was all."""
    spent: bytes = b""
    """Marks of sets that were for the time of an absence which is over."""


def send_offline(at: LegStep, policy: OfflinePolicy) -> bool:
    """Nobody is there: seal what waits to the user's options, or ask for them. Whether either was done."""
    if not (policy.sends and policy.able) or not at.line.waiting:
        return False
    known = _known(at)
    if max(known.sent, at.line.first) >= at.line.next:
        return False
    usable = _usable(at, policy, known.form, known)
    if usable is not None:
        _send(at, policy, usable)
        return True
    now = at.step.now_ms()
    if now < known.asked_ms + (ANSWER_MS if known.asking else ASK_AGAIN_MS):
        return bool(known.asking)
    _ask(at, OPTIONS_SUBSCRIBERS)  # XEP-0187: subscribers must ask for these first
    return True


def options_arrived(step: Step, body: bytes, policy_of: Callable[[LegStep], OfflinePolicy]) -> None:
    """A `pep-items` arrival: what a node of the user's holds. Only what was asked for is looked at."""
    try:
        found = Items.decode(body)
    except ValueError:
        step.report("pep-items-malformed")
        return
    contact = next((c for c in step.account.contacts if bare(c.alias) == bare(found.contact)), None)
    if contact is None:
        step.report("pep-items-malformed")
        return
    at = LegStep(step, contact)
    known, policy = _known(at), policy_of(at)
    if found.node and known.asking == found.node:
        _found(at, policy, known, found)
    else:
        at.report("pep-items-unasked")
    at.finish()


def user_came(at: LegStep) -> None:
    """The user is online again: options for the time of the absence are not used any more, and others fetched anew."""
    known = at.step.records.get(_name(at), UserOptions)
    if known is None or not (known.form or known.asked_ms):
        return
    spent = known.spent
    if known.form and known.node == OPTIONS_SUBSCRIBERS:
        spent = (spent + _mark(known.form))[-_SPENT * _MARK :]
    at.step.records.put(_name(at), UserOptions(sent=known.sent, spent=spent))


def sending_due_ms(at: LegStep) -> int:
    """When `send_offline` should be tried again although nothing happened; 0: never. Always in the future."""
    known = at.step.records.get(_name(at), UserOptions)
    if known is None or max(known.sent, at.line.first) >= at.line.next:
        return 0
    due = known.more_ms if known.form else known.asked_ms + (ANSWER_MS if known.asking else ASK_AGAIN_MS)
    return due if due > at.step.now_ms() else 0


# ---------------------------------------------------------------- finding options
def _ask(at: LegStep, node: str) -> None:
    known = replace(_known(at), asked_ms=at.step.now_ms(), asking=node, form=b"", node="")
    at.step.records.put(_name(at), known)
    values: dict[str, AnyValue] = {
        "from": at.contact_jid,
        "to": address_of(bare(at.step.account.near_address)),
        "node": Code(v=node),
    }
    at.step.carry(FETCH, values, lane=at.lane)


def _found(at: LegStep, policy: OfflinePolicy, known: UserOptions, found: Items) -> None:
    form = next((f for f in map(_element, found.items) if f and _usable(at, policy, f, known) is not None), None)
    if form is not None:
        at.report("offline-options-found")
        at.step.records.put(_name(at), replace(known, asking="", form=form, node=found.node))
        send_offline(at, policy)
    elif found.node == OPTIONS_SUBSCRIBERS:
        _ask(at, OPTIONS)
    else:
        at.report("offline-options-none")
        at.step.records.put(_name(at), replace(known, asking=""))


def _element(item: str) -> bytes:
    """One item as an element of ours; empty for what is none."""
    try:
        return serialize(parse(item.encode("utf-8", "replace")))
    except MalformedXml:
        return b""


def _usable(at: LegStep, policy: OfflinePolicy, form: bytes, known: UserOptions) -> Options | None:
    """The options, if they are current, signed by the user, not spent, and hold something that we have too."""
    if not form or not policy.identities:
        return None
    try:
        options = read_options(_parsed(form))
        require_current(options, now_ms=at.step.now_ms(), publisher=bare(at.step.account.near_address))
        require_signed(options, policy.trusted)
        choose(options, policy.offer, _signer(options, policy).public)
    except OfflineRefusal as refusal:
        at.report(f"offline-options-{refusal.flaw.value}")
        return None
    marks = [known.spent[n : n + _MARK] for n in range(0, len(known.spent), _MARK)]
    if _mark(form) in marks:
        at.report("offline-options-spent")
        return None
    return options


def _signer(options: Options, policy: OfflinePolicy) -> Identity:
    """The contact's best key of those that the user's client can verify; the best of all when it can verify none."""
    able = (i for i in policy.identities if i.public.algorithm.value in options.choices["sign_algs"])
    return next(able, policy.identities[0])


def _parsed(form: bytes) -> Element:
    try:
        return parse(form)
    except MalformedXml:
        pass
    raise OfflineRefusal(OfflineFlaw.MALFORMED)


# ---------------------------------------------------------------- sending
def _send(at: LegStep, policy: OfflinePolicy, options: Options) -> None:
    known = _known(at)
    number, room = max(known.sent, at.line.first), SENT_AT_ONCE
    for _ in range(MAX_AT_ONCE):
        if number >= at.line.next or room <= 0:
            break
        entry = at.step.records.get(f"queue/{at.contact.id}/{number:012x}", Queued)
        number += 1
        if entry is None or entry.plain:
            continue
        begun = _begun(at, policy, options, content_of(at, entry, letter=True))
        if begun is None:
            at.step.records.put(_name(at), replace(known, form=b"", node=""))
            return
        room -= len(begun.content)
        _carry(at, begun, entry)
    more_ms = at.step.now_ms() + SECOND_MS if number < at.line.next else 0
    at.step.records.put(_name(at), replace(known, sent=number, more_ms=more_ms))


def _begun(at: LegStep, policy: OfflinePolicy, options: Options, content: bytes) -> Begun | None:
    signer = _signer(options, policy)
    try:
        chosen = choose(options, policy.offer, signer.public)
        return begin(options, chosen, signer, content, at.step.draw, now_ms=at.step.now_ms())
    except OfflineRefusal as refusal:
        at.report(f"offline-options-{refusal.flaw.value}")
        return None


def _carry(at: LegStep, begun: Begun, entry: Queued) -> None:
    user = bare(at.step.account.near_address)
    to = user if begun.resource is None else f"{user}/{begun.resource}"
    values: dict[str, AnyValue] = {
        "from": at.contact_jid,
        "to": address_of(to),
        "id": Opaque(v=entry.stanza_id),
        "thread": Opaque(v=at.step.draw("thread", 16).hex()),
        "form": Public(v=begun.init),
        "content": Sealed(v=begun.content),
    }
    if begun.resource is not None:
        values["kind"] = Code(v="exact")
    at.step.carry(OFFLINE, values, lane=at.lane, trace=entry.position or None)
    at.step.trace(entry.position, "sealed")
    at.report("offline-sent")


# ---------------------------------------------------------------- records
def _name(at: LegStep) -> str:
    return f"offline-user/{at.contact.id}"


def _known(at: LegStep) -> UserOptions:
    return at.step.records.get(_name(at), UserOptions) or UserOptions()


def _mark(form: bytes) -> bytes:
    return sha256(form)[:_MARK]
