"""Signing keys: the contact's own, those of the user's clients, and what has become weaker (decision 0099).

`identity/CONTACT`   Own        the signing keys that stand for the contact, made when they are first needed
`known`              Known      the keys that the user's clients showed, and the contacts' own
`strength/CONTACT`   Strengths  what the sessions with each of the user's resources had
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from adapters.xmpp.inside_policy import SessionPolicy
from adapters.xmpp.names import bare
from crypto.esession.associations import Known, Verdict, accept, assess, remember
from crypto.esession.identification import Judge
from crypto.esession.identities import Identity, PublicIdentity, new_ed25519, new_rsa
from crypto.esession.refusals import KeyRefused
from crypto.esession.session import Session
from crypto.esession.vouching import Vouched, vouch
from crypto.records import Records

MAX_STRENGTHS = 8
RSA_BITS = 2048
"""Of the key for peers that know the letter's algorithm only; who can choose takes Ed25519."""
CODES = {
    Verdict.NEW: "identity-new",
    Verdict.CHANGED: "identity-changed",
    Verdict.SHARED: "identity-elsewhere",
    Verdict.ABSENT: "identity-weaker",
}


@dataclass(frozen=True, slots=True)
class Own:
    """The signing keys of one contact, best first."""

    identities: tuple[Identity, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Strength:
    """What the last session with a resource had."""

    mark: str
    hybrid: bool
    key: bool
    letter: bool
    bound: bool = False
    """Whether its string was one that somebody between cannot try out (decision 0089)."""
    rekeys: bool = False

    def lost(self, now: "Strength") -> bool:
        """Whether less is there now."""
        lacks = (
            self.hybrid and not now.hybrid,
            self.key and not now.key,
            self.letter and not now.letter,
            self.bound and not now.bound,
            self.rekeys and not now.rekeys,
        )
        return any(lacks)


@dataclass(frozen=True, slots=True)
class Strengths:
    """Of the resources last heard of, the latest last."""

    known: tuple[Strength, ...] = ()


# ---------------------------------------------------------------- our keys
def own_identities(
    records: Records, contact: str, policy: SessionPolicy, draw: Callable[[str, int], bytes]
) -> tuple[Identity, ...]:
    """The contact's signing keys; made and kept when there are none and the policy needs them."""
    if not policy.needs_identity:
        return ()
    kept = records.get(f"identity/{contact}", Own)
    if kept is None:
        kept = Own((new_ed25519(draw("identity", 32)), new_rsa(RSA_BITS)))
        records.put(f"identity/{contact}", kept)
    return kept.identities


# ---------------------------------------------------------------- the user's keys
def known_of(records: Records) -> Known:
    """What is known of keys."""
    return records.get("known", Known) or Known()


def known_keys(records: Records, jid: str) -> tuple[PublicIdentity, ...]:
    """The keys of the user's: what a client may name by its fingerprint."""
    return tuple(k.public for k in known_of(records).keys if bare(jid) in k.jids)


def judge_for(policy: SessionPolicy, jid: str, now_ms: int) -> Judge:
    """Refuses, where only vouched keys will do, every other one: before anything is sent to who holds it."""

    def judge(public: PublicIdentity | None, certificates: tuple[bytes, ...]) -> None:
        if not policy.vouched_only:
            return
        if public is None or not is_vouched(policy, public, jid, now_ms, certificates):
            raise KeyRefused("identity")

    return judge


def is_vouched(
    policy: SessionPolicy, public: PublicIdentity, jid: str, now_ms: int, certificates: tuple[bytes, ...]
) -> bool:
    """Whether something that the operator configured says that the key is the user's."""
    return isinstance(vouch(public, bare(jid), now_ms // 1000, policy.vouchers, certificates), Vouched)


def associated(
    records: Records, jid: str, public: PublicIdentity | None, own: tuple[PublicIdentity, ...], *, vouched: bool
) -> tuple[str, ...]:
    """A session was established with that key: what the user is to be warned of, by code. `own`: keys of ours."""
    known, jid = known_of(records), bare(jid)
    verdicts = assess(known, jid, public).verdicts
    if public is None:
        return tuple(CODES[v] for v in verdicts)
    if public in own:  # ours, shown to us: somebody mirrors what we send
        return (CODES[Verdict.SHARED],)
    after = accept(known, jid, public, validated=True, alone=False) if vouched else remember(known, jid, public)
    if after != known:
        records.put("known", after)
    if vouched:
        verdicts = tuple(v for v in verdicts if v is Verdict.SHARED)
    return tuple(CODES[v] for v in verdicts if v in CODES)


def weaker(records: Records, contact: str, mark: str, session: Session, *, key: bool) -> bool:
    """Whether the session with that resource lacks what the one before had; remembers what it has."""
    strengths = records.get(f"strength/{contact}", Strengths) or Strengths()
    before = next((s for s in strengths.known if s.mark == mark), None)
    agreed, letter = session.agreed, session.profile.value == "letter"
    bound = agreed.sas_bound or agreed.three_message  # there is no string then, and a key was shown
    now = Strength(mark, agreed.hybrid, key, letter, bound, rekeys=session.rekeying is not None)
    if now != before:
        others = tuple(s for s in strengths.known if s.mark != mark)[1 - MAX_STRENGTHS :]
        records.put(f"strength/{contact}", replace(strengths, known=(*others, now)))
    return before is not None and before.lost(now)
