"""Stanzas that are sealed, sent and over by themselves (XEP-0116, 3 messages with `terminate`; decision 0106).

What came so is answered so: its sender waits for a word that only the contact's end can have written, and has no
session. Where the operator says `send`, messages for the user go so too, one after the other, instead of in a session.
"""

from dataclasses import replace

from adapters.inside_api import AnyValue
from adapters.xmpp.inside_demands import demands_verified
from adapters.xmpp.inside_identities import is_vouched, known_keys, known_of
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_queue import content_of, queued_at, sent_alone
from adapters.xmpp.inside_stanzas import is_opaque, receipt_content, refusal_content
from adapters.xmpp.inside_state import NEGOTIATION_MS, WINDOW, Owed, SeenMessage, Talk
from adapters.xmpp.names import RECEIPT, address_of
from bridge.wire.values import Opaque
from crypto.errors import Misuse
from crypto.esession.associations import assess
from crypto.esession.conversation import initiate
from crypto.esession.identification import Judge
from crypto.esession.identities import PublicIdentity
from crypto.esession.refusals import KeyRefused

MAX_ANSWERS = 8
"""Answers under way to one contact's user; what is beyond them is told in the clear."""


# ---------------------------------------------------------------- answers
def answer_alone(at: LegStep, message: SeenMessage, code: str | None) -> None:
    """Tell who sealed that message alone what became of it: in a session if there is one, else as it came."""
    debt = Owed(message.peer_id, code, message.by)
    if at.leg.of_peer(message.once) is not None:
        at.owed.append(debt)
        return
    under_way = sum(t.debt is not None for t in at.leg.talks)
    known = debt.id or ""
    content = receipt_content(known) if code is None else refusal_content(known, code)
    if under_way >= MAX_ANSWERS or not _begin(at, message.once, content, debt=debt):
        tell_in_clear(at, message.once, debt)


def tell_in_clear(at: LegStep, peer: str, debt: Owed) -> None:
    """A receipt that anybody could have written, or an error in the clear: better than silence."""
    if debt.code is not None:
        at.error(peer, debt.id, debt.code)
    elif is_opaque(debt.id):
        values: dict[str, AnyValue] = {
            "from": at.contact_jid,
            "to": address_of(peer),
            "id": Opaque(v=f"n-{at.step.draw('stanza-id', 8).hex()}"),
            "received": Opaque(v=str(debt.id)),
        }
        at.step.carry(RECEIPT, values, lane=at.lane)


# ---------------------------------------------------------------- messages for the user
def sends_alone(at: LegStep) -> bool:
    """Whether messages go alone where there is no session."""
    return at.policy.sends_alone and not at.policy.closed


def send_alone(at: LegStep, peer: str) -> None:
    """Begin with the next message that waits. It leaves when the user's client has proved to hold a key that counts."""
    number, entry = queued_at(at)
    if entry is None or number - at.line.first >= WINDOW:
        return
    if not _begin(at, peer, content_of(at, entry, letter=True), number=number):
        at.leg = at.leg.failed(at.step.now_ms())


def _begin(at: LegStep, peer: str, content: bytes, *, debt: Owed | None = None, number: int = 0) -> bool:
    if at.policy.closed or not at.identities:
        return False
    thread = at.step.draw("thread", 16).hex()
    # One group: the key is named at once, and each would cost an exponentiation.
    terms = replace(at.terms, groups=at.terms.groups[:1], three_message=True)
    outcome = None
    try:
        outcome = initiate(thread, terms, at.step.draw, once=content)
    except Misuse:  # a password, or no public keys: 3 messages cannot be
        outcome = None
    if outcome is None or outcome.conversation is None:
        return False
    at.keep(outcome.conversation)
    talk = Talk(thread, peer, False, at.step.now_ms() + NEGOTIATION_MS, ours=True, debt=debt, number=number)
    at.leg = replace(at.leg, talks=(talk, *at.leg.talks))
    at.report("once-offered")
    at.reply(thread, peer, outcome.replies)
    return True


def judge_alone(at: LegStep) -> Judge:
    """Only a key that the user's clients have shown before, or the first one ever; where chains count, a validated one.

    The content leaves at once: a warning afterwards, as for sessions, would come too late.
    """

    def judge(public: PublicIdentity | None, certificates: tuple[bytes, ...]) -> None:
        at.judge(public, certificates)
        jid = at.step.account.near_address
        if public is None:
            raise KeyRefused("identity")
        if is_vouched(at.policy, public, jid, at.step.now_ms(), certificates):
            return
        known = known_keys(at.step.records, jid)
        validated = assess(known_of(at.step.records), jid, public).validated
        if (known and public not in known) or (demands_verified(at) and not validated):
            raise KeyRefused("identity")

    return judge


# ---------------------------------------------------------------- what becomes of them
def was_sent(at: LegStep, talk: Talk) -> None:
    """The last of the three messages goes out."""
    at.report("once-sent")
    if talk.number:
        sent_alone(at, talk.number)


def came_to_nothing(at: LegStep, talk: Talk) -> None:
    """No key that counts, no answer, or a refusal: an answer is told in the clear, a message waits for the next try."""
    at.report("once-failed")
    if talk.debt is not None:
        tell_in_clear(at, talk.peer, talk.debt)
    else:
        at.leg = at.leg.failed(at.step.now_ms())
