"""Which key belongs to whom: fingerprints, JIDs, petnames (XEP-0116, "Key Associations").

`assess` says what a presented key means, `remember` keeps what needs no decision of the user, `accept` what the user
decided. Until then a changed or a shared key gives the same warning every time.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from crypto.errors import Misuse
from crypto.esession.identities import PublicIdentity

MAX_KEYS = 128
MAX_SEEN = 8
"""JIDs under which a key was seen without being theirs, and keys that one JID showed without being accepted."""
MAX_JIDS = 16
MAX_PETNAME = 64


class Verdict(StrEnum):
    """What a presented key, or the lack of one, means for a JID."""

    NEW = "new"
    """The first key of this JID, known nowhere else."""
    SAME = "same"
    CHANGED = "changed"
    """The JID had another key before: the user must be warned."""
    SHARED = "shared"
    """The key is known under another JID: the user must be warned."""
    ABSENT = "absent"
    """The JID had a key before and presents none: the user must be warned."""


WARNINGS = frozenset({Verdict.CHANGED, Verdict.SHARED, Verdict.ABSENT})


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One key that was seen."""

    public: PublicIdentity
    jids: tuple[str, ...] = ()
    """The bare JIDs whose key it is."""
    seen: tuple[str, ...] = ()
    """The bare JIDs that presented it without its being accepted as theirs."""
    validated: bool = False
    """Whether the user, or a voucher, said that it is genuine."""
    petname: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Known:
    """All keys that an account has seen, the latest first. Storable."""

    keys: tuple[KnownKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a presented key means. `verdicts` is empty when nothing was presented and nothing was expected."""

    verdicts: tuple[Verdict, ...]
    validated: bool = False
    """Whether this key, for this JID, has been validated."""
    petname: str = field(default="", repr=False)
    others: tuple[str, ...] = ()
    """The other JIDs that the key is known under."""

    @property
    def warnings(self) -> tuple[Verdict, ...]:
        """The verdicts that the user must see."""
        return tuple(v for v in self.verdicts if v in WARNINGS)


def assess(known: Known, jid: str, public: PublicIdentity | None) -> Assessment:
    """What it means that the bare JID presents this key, or none."""
    expected = any(jid in k.jids for k in known.keys)
    if public is None:
        return Assessment((Verdict.ABSENT,) if expected else ())
    key = key_of(known, public)
    if key is not None and jid in key.jids:
        return Assessment((Verdict.SAME,), key.validated, key.petname, _without(key.jids + key.seen, jid))
    others = () if key is None else _without(key.jids + key.seen, jid)
    shared = (Verdict.SHARED,) if others else ()
    changed = (Verdict.CHANGED,) if expected else ()
    petname = "" if key is None else key.petname
    return Assessment((*shared, *changed) or (Verdict.NEW,), False, petname, others)


def remember(known: Known, jid: str, public: PublicIdentity) -> Known:
    """After a session with that key: a new key becomes the JID's, another is only noted as seen."""
    verdicts = assess(known, jid, public).verdicts
    key = key_of(known, public) or KnownKey(public)
    if Verdict.NEW in verdicts:
        return _placed(known, replace(key, jids=(*key.jids, jid), seen=_without(key.seen, jid)))
    if Verdict.SAME in verdicts:
        return _placed(known, key)
    seen = (jid, *_without(key.seen, jid))[:MAX_SEEN]
    return _placed(_bounded_for(known, jid, public), replace(key, seen=seen))


def accept(known: Known, jid: str, public: PublicIdentity, *, validated: bool = False, alone: bool = True) -> Known:
    """The user decided that the key is the JID's; `alone`: its former keys no longer are.

    `validated` is never taken back here. Raises Misuse when the record is full of keys in use.
    """
    key = key_of(known, public) or KnownKey(public)
    if alone:
        known = Known(tuple(_former(k, jid) if jid in k.jids else k for k in known.keys))
    jids = (jid, *_without(key.jids, jid))[:MAX_JIDS]
    placed = _placed(known, replace(key, jids=jids, seen=_without(key.seen, jid), validated=key.validated or validated))
    if key_of(placed, public) is None:
        raise Misuse("no room for another key")
    return placed


def named(known: Known, public: PublicIdentity, petname: str) -> Known:
    """With that petname for the key, cut to 64 characters; nothing changes for an unknown key."""
    key = key_of(known, public)
    return known if key is None else _replaced(known, replace(key, petname=petname[:MAX_PETNAME]))


def forget(known: Known, public: PublicIdentity) -> Known:
    """Without the key."""
    return Known(tuple(k for k in known.keys if k.public != public))


def key_of(known: Known, public: PublicIdentity) -> KnownKey | None:
    """What is known about a key."""
    return next((k for k in known.keys if k.public == public), None)


def keys_of(known: Known, jid: str) -> tuple[KnownKey, ...]:
    """The keys that are the JID's."""
    return tuple(k for k in known.keys if jid in k.jids)


def by_fingerprint(known: Known, fingerprint: bytes, *, hash_name: str = "sha256") -> PublicIdentity | None:
    """The copy of a key that a peer presents by its fingerprint only. Without one the ESession must end."""
    return next((k.public for k in known.keys if k.public.fingerprint(hash_name) == fingerprint), None)


def _without(jids: tuple[str, ...], jid: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(j for j in jids if j != jid))


def _former(key: KnownKey, jid: str) -> KnownKey:
    """A key that was the JID's: still seen there, so that another who presents it is noticed."""
    return replace(key, jids=_without(key.jids, jid), seen=(jid, *_without(key.seen, jid))[:MAX_SEEN])


def _replaced(known: Known, key: KnownKey) -> Known:
    return Known(tuple(key if k.public == key.public else k for k in known.keys))


def _placed(known: Known, key: KnownKey) -> Known:
    """With the key in front; keys that are nobody's give way, others never do: then there is no room."""
    rest = [k for k in known.keys if k.public != key.public]
    if len(rest) >= MAX_KEYS:
        spare = next((k for k in reversed(rest) if not k.jids and not k.validated), None)
        if spare is None:
            return known
        rest.remove(spare)
    return Known((key, *rest))


def _bounded_for(known: Known, jid: str, public: PublicIdentity) -> Known:
    """Without the oldest of the keys that this JID showed in vain, so that it cannot push out those of others."""
    vain = [k for k in known.keys if not k.jids and not k.validated and jid in k.seen and k.public != public]
    return known if len(vain) < MAX_SEEN else Known(tuple(k for k in known.keys if k is not vain[-1]))
