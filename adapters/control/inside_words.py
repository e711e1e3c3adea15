"""What the gateway says to its user, inside the encryption."""

from collections.abc import Sequence

from adapters.inside_api import ContactDevice, LegStatus, OwnIdentity, Proof, Shown, UserDevice
from crypto.omemo.fingerprints import trust_uri, uri

HELP = """\
I am the gateway. Write to me, always encrypted:
contacts - who there is, and how they are verified
fingerprints NAME - the keys of your identity and of theirs
code NAME - their OMEMO key as a code that another client of yours can scan (for Kaidan: code NAME kaidan)
verify NAME - compare emoji with a contact, or join the comparison that they asked for
match NUMBER, differ NUMBER - your answer when you have compared
cancel NAME - break a verification off
devices - your own OMEMO devices, their fingerprints, and whether they are verified
trust FINGERPRINT, distrust FINGERPRINT - your decision about one of them"""
UNKNOWN = "I do not know that command.\n" + HELP
NO_NAME = "Say also whom you mean, for example: verify bob"
NOT_FOUND = "You have no contact of that name. Write: contacts"
NO_NUMBER = "Say also the number that stands below what you compared, for example: match 4711"
NOTHING_SHOWN = "There is nothing of that number to compare. It is over, or the number is another one."
UNVERIFIED = (
    "Not in this session: it is encrypted, but nobody has compared its string yet, so somebody in between could be "
    "writing this in your name. Have the gateway's operator compare the string that your client shows for this "
    "session, or with OMEMO the fingerprint that your client shows for this device (lockgate trust verify), once; or "
    "let the operator verify the contact (lockgate matrix verify)."
)
NOTE_UNVERIFIED = (
    "(The string of this session, or with OMEMO the fingerprint of your device, was not compared: somebody in between "
    "could have changed this.)"
)
NOBODY = "You have no contacts that can be verified."
MEANS = "Compare by voice or in person, not in this chat."

_BEGUN = {
    "ok": "{name} is asked to verify. They have to accept in their client; I write when it goes on.",
    "under-way": "A verification of {name} is under way already.",
    "identity-not-ready": "Your own identity on the other network is not ready yet. I ask {name} as soon as it is.",
    "devices-unknown": "I am asking for {name}'s devices; then I ask {name}.",
    "not-cross-signed": "{name} has no identity that could be verified: they have to set up cross-signing in their "
    "client.",
    "unknown-contact": "{name} is on a network without such verifications.",
}
_DECIDED = {
    "no-verification": "The verification of {name} is over.",
    "nothing-to-compare": NOTHING_SHOWN,
    "other-session": "Another verification of {name} has taken its place. Begin again, and compare what is shown then.",
}
_STATES = {
    "requested": "{name} is asked. They have to accept in their client.",
    "prepared": "Both are ready.",
    "committed": "It begins.",
    "started": "It begins.",
    "revealed": "It begins.",
    "confirmed": "Waiting for {name} to say that it is the same.",
    "verified": "{name} is verified.",
    "finished": "{name} is verified.",
}
_CANCELLED = {
    "mismatched-sas": "What you saw differs. Nobody was verified: somebody may be in between.",
    "user": "It was broken off.",
    "timeout": "It took too long.",
    "accepted": "Another device of theirs took it on.",
    "key-mismatch": "The keys are not those that are known. Somebody may be in between.",
    "mismatched-commitment": "A key is not the one that was promised. Somebody may be in between.",
}
_HOW = {
    "emoji": "by emoji",
    "numbers": "by numbers",
    "code": "by a scanned code",
    "key": "by its key",
    "string": "by the session's string",
}


def begun(name: str, code: str) -> str:
    """What came of `verify`."""
    return _BEGUN.get(code, "That is not possible now.").format(name=name)


def decided(name: str, code: str) -> str:
    """What came of a decision that was not taken."""
    return _DECIDED.get(code, "That is not possible now.").format(name=name)


def standing(name: str, shown: Shown) -> str:
    """How a verification stands, in a line."""
    if shown.state == "cancelled":
        return f"The verification of {name} has ended. {_CANCELLED.get(shown.code, 'It was broken off.')}"
    return _STATES.get(shown.state, "Nothing is under way with {name}.").format(name=name)


def to_compare(shown: Shown) -> list[str]:
    """The emoji with their names, one a line; where the other end has none, the numbers."""
    if not shown.words:
        return [shown.mark]
    return [f"{place}. {word}" for place, word in enumerate(shown.words, start=1)]


def comparison(name: str, shown: Shown) -> str:
    """The message that asks to compare. The answer carries a number of what was shown, so that it is about no other."""
    number = shown.mark.split(" ", 1)[0]
    head = f"Compare with {name}, by voice or in person. I show, in this order:"
    tail = f"If {name} sees exactly the same, write: match {number}\nIf not, write: differ {number}"
    return "\n".join((head, *to_compare(shown), tail))


def contact(leg: LegStatus, address: str) -> str:
    """A contact, in a line."""
    identity = leg.identity
    words = [f"{leg.contact} ({address})"]
    if identity is None:
        words.append("has no identity to verify")
    elif identity.state == "changed":
        words.append("IDENTITY CHANGED; messages are held until the operator approves it")
    else:
        words.append({"verified": "verified", "pinned": "not verified"}.get(identity.state, "no identity seen yet"))
        if leg.verified and leg.proof is not None:
            words[-1] += f" {proof(leg.proof)}"
    if leg.waiting:
        words.append(f"{leg.waiting} waiting")
    return ", ".join(words)


def proof(found: Proof) -> str:
    """How, and by whom."""
    who = "you" if found.by == "user" else "the operator"
    return f"{_HOW.get(found.how, 'somehow')}, by {who}"


NO_FINGERPRINT = "Say also the whole fingerprint, as your client shows it for its own device, for example: trust 1f2e…"
NO_DEVICES = "I know of no OMEMO device of yours."
_KEY_DECIDED = {
    "ok": "That is noted.",
    "not-a-fingerprint": "That is not a fingerprint: it has 64 digits, 0 to 9 and a to f.",
    "unknown-key": "None of your devices has shown that key. Write: devices",
}
_KEY_STATES = {
    "verified": "verified",
    "blind": "trusted, not verified",
    "undecided": "NOT VERIFIED; nothing is sent to it",
    "distrusted": "not trusted; nothing is sent to it",
    "changed": "SHOWS ANOTHER KEY than before; nothing is sent to it",
    "unknown": "has shown no key yet",
}


def key_decided(code: str) -> str:
    """What came of a decision about a device."""
    return _KEY_DECIDED.get(code, "That is not possible now.")


def device(found: UserDevice) -> str:
    """One of the user's devices."""
    return device_state(found) + (f"\n{fingerprint(found.key)}" if found.key else "")


def device_state(found: UserDevice) -> str:
    """The same in a line, without its key."""
    gone = "" if found.active else ", not in use any more"
    by = f" (by automatic trust from device {found.voucher})" if found.by == "device" else ""
    return f"Device {found.id}: {_KEY_STATES.get(found.state, 'unknown')}{by}{gone}"


WHICH_DEVICE = "Which device, and what do you decide about it? What is not trusted is sent nothing and not listened to."
COMPARE = "Compare this with the fingerprint that the device itself shows, all of it:"
TO_DISTRUST = "To this device nothing is sent any more, and what it writes is refused:"
SAME = {"trust": "The device shows exactly this: trust it", "distrust": "Distrust it"}
ANOTHER = {"trust": "It shows something else, or I do not know", "distrust": "Leave it as it is"}
LEFT = {
    "trust": "Nothing was decided. If the device shows another fingerprint, somebody may be posing as you: ask the "
    "gateway's operator.",
    "distrust": "Nothing was changed.",
}


def contact_device(name: str, address: str, found: ContactDevice) -> str:
    """The device that stands for a contact, as the user's client should show it."""
    shown = f"The OMEMO fingerprint of {name} ({address}) at your end:\n{fingerprint(found.key)}"
    return "\n".join((shown, *addresses(address, found).values()))


def addresses(address: str, found: ContactDevice) -> dict[str, str]:
    """The addresses about a contact's device that clients scan: for most, and for those of omemo:2 (`kaidan`)."""
    key = bytes.fromhex(found.key)
    return {"": uri(address, {found.id: key}), KAIDAN: trust_uri(address, key)}


KAIDAN = "kaidan"
"""The client that scans addresses of its own form."""
NO_CODE = "{name} is no OMEMO device at your end, so there is nothing to scan."
CODE = (
    "A code about {name} follows. Scan it with another client of yours, not with this one: it is worth as much as this "
    "client's own knowledge that it talks to the gateway. It says:\n{uri}"
)
CODE_DRAWN = "No picture could be sent ({code}). The same about {name} in characters:"


def fingerprint(key: str) -> str:
    """Eight groups of eight digits."""
    return " ".join(key[at : at + 8] for at in range(0, len(key), 8))


def keys(name: str, leg: LegStatus, own: Sequence[OwnIdentity]) -> str:
    """The master keys, for comparison."""
    mine = next((each.key for each in own if each.network == leg.network), None)
    theirs = leg.identity.key if leg.identity is not None else None
    return f"Your master key: {_grouped(mine)}\n{name}'s master key: {_grouped(theirs)}"


def _grouped(key: str | None) -> str:
    return " ".join(key[i : i + 4] for i in range(0, len(key), 4)) if key else "none"
