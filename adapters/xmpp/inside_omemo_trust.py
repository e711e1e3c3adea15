"""Which identity keys of the user's OMEMO devices are believed (decision 0169).

`omemo-keys`   Keys   every key that one of the user's devices has shown; for the whole account: they are the user's

A key that was met before any was verified is trusted blindly, where the policy has that. From the first verification on
new ones are undecided: nothing is sent to them and nothing is taken from them, and the user is told.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from adapters.inside_api import ContactPolicy
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_own import store_in
from adapters.xmpp.inside_policy import policy_of
from crypto.esession.retained import Retained
from crypto.omemo.device import own
from crypto.omemo.fingerprints import read_fingerprint
from crypto.records import Records

MAX_KEYS = 128
BLIND, UNDECIDED, VERIFIED, DISTRUSTED = "blind", "undecided", "verified", "distrusted"
DEVICE_NEW, DEVICE_CHANGED = "omemo-device-new", "omemo-device-changed"
"""Codes of what the user is told."""
PEOPLE, BY_DEVICE = ("operator", "user"), "device"
"""`Known.by` of decisions that people made here, and of those that were taken over from a device of the user's."""


@dataclass(frozen=True, slots=True)
class Known:
    """An identity key (Curve25519, 32 octets) and what was decided about it, by whom (`Proof`) and when."""

    identity: bytes
    state: str
    since_ms: int
    by: str = "nobody"
    voucher: int = 0
    """The device of the user's on whose word it was decided, if `by` is `device`."""
    said_ms: int = 0
    """When the latest word of a device about it was said that changed anything, by that device's clock."""


@dataclass(frozen=True, slots=True)
class Keys:
    """All of them, the one met last at the end."""

    known: tuple[Known, ...] = ()
    ever_verified: bool = False
    """Whether a key was ever verified, whatever was decided about it since."""

    def find(self, identity: bytes) -> Known | None:
        """What is known of a key."""
        return next((key for key in self.known if key.identity == identity), None)

    @property
    def closed(self) -> bool:
        """Whether one was verified: no other is trusted blindly from then on, also if that one is distrusted later."""
        return self.ever_verified or any(key.state == VERIFIED for key in self.known)

    def with_changed(self, key: Known) -> "Keys":
        """With another state of a key that is known."""
        known = tuple(key if each.identity == key.identity else each for each in self.known)
        return Keys(known, self.closed or key.state == VERIFIED)

    def with_key(self, key: Known, bound: Iterable[bytes]) -> "Keys":
        """With this one. Beyond a limit those go first about which nobody decided, and that no device has (`bound`).

        Decisions stay as long as there is anything else: were they pushed out, keys would be trusted blindly again.
        """
        needed = set(bound)
        others = [each for each in self.known if each.identity != key.identity]
        order = sorted(others, key=lambda k: (k.state not in (BLIND, UNDECIDED), k.identity in needed))
        gone = order[: max(0, len(others) - MAX_KEYS + 1)]
        return Keys((*(each for each in others if each not in gone), key), self.closed)


def keys_in(records: Records) -> Keys:
    """What is known."""
    return records.get("omemo-keys", Keys) or Keys()


def only_verified(contact: ContactPolicy) -> bool:
    """Whether the policy trusts no key blindly. What it does not name rightly is taken for the strictest."""
    blind = contact.options.get("omemo-trust", "blind-until-verified") == "blind-until-verified"
    # Who says whom sessions may be with does not want devices of anybody in their place.
    return not blind or policy_of(contact).names_peers or policy_of(contact).closed


def strict(records: Records, contact: ContactPolicy) -> bool:
    """Whether no key is trusted blindly: as the policy says, or because a session with the contact was compared."""
    retained = records.get(f"retained/{contact.id}", Retained)
    return only_verified(contact) or (retained is not None and retained.demands_verified)


def is_closed(at: LegStep) -> bool:
    """Whether no new key is trusted blindly (any more)."""
    return strict(at.step.records, at.contact) or keys_in(at.step.records).closed


def standing_of(at: LegStep, identity: bytes) -> str:
    """How a key stands for this contact."""
    known = keys_in(at.step.records).find(identity)
    state = UNDECIDED if known is None else known.state
    return UNDECIDED if state == BLIND and strict(at.step.records, at.contact) else state


def is_believed(at: LegStep, identity: bytes) -> bool:
    """Whether something may be sent to, and taken from, who holds the key."""
    return standing_of(at, identity) in (BLIND, VERIFIED)


def met(at: LegStep, identity: bytes, bound: Iterable[bytes] = ()) -> bool:
    """A device showed this key; whether it was never seen before."""
    keys = keys_in(at.step.records)
    if keys.find(identity) is not None:
        return False
    state = DISTRUSTED if _is_contacts(at, identity) else UNDECIDED if keys.closed else BLIND
    at.step.records.put("omemo-keys", keys.with_key(Known(identity, state, at.step.now_ms()), bound))
    at.report(f"omemo-key-{state}")
    return True


def _is_contacts(at: LegStep, identity: bytes) -> bool:
    """A server can list a contact's public keys as a device of the user's. What that contact's end would open then, it
    would pass on to the contact, as written by the user.
    """
    devices = (own(store_in(at.step.records, contact.id)) for contact in at.step.account.contacts)
    return any(device is not None and device.identity_key == identity for device in devices)


def decided(at: LegStep, decision: str, text: str, by: str) -> tuple[str, bytes]:
    """`verify` or `distrust` the key of a fingerprint: a code, and the key if it is `ok`."""
    states = {"verify": VERIFIED, "distrust": DISTRUSTED}
    identity, keys = read_fingerprint(text), keys_in(at.step.records)
    if decision not in states:
        return "unknown-decision", b""
    if identity is None:
        return "not-a-fingerprint", b""
    known = keys.find(identity)
    if known is None:
        return "unknown-key", b""
    after = replace(known, state=states[decision], since_ms=at.step.now_ms(), by=by, voucher=0)
    at.step.records.put("omemo-keys", keys.with_changed(after))
    at.report(f"omemo-key-{after.state}")
    return "ok", identity
