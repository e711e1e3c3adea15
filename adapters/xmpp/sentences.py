"""What people are told, by code.

The enclave sends codes, and the outside half makes the sentences; only into the encrypted content of a stanza does the
inside half write them itself, where nobody else can read why a message was refused.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """An error as XMPP has it (RFC 6120, 8.3): type, defined condition, and a sentence."""

    kind: str
    condition: str
    sentence: str


ERRORS = {
    "policy-violation": Explanation(
        "modify",
        "policy-violation",
        "Your message was not encrypted, so it was not passed on: this contact only takes end-to-end encrypted "
        "messages. Start an encrypted session (ESession) with the contact and send it again.",
    ),
    "item-not-found": Explanation(
        "cancel",
        "item-not-found",
        "There is no contact of this address here. Check the address, or ask the operator of this gateway to add it.",
    ),
    "forbidden": Explanation(
        "auth",
        "forbidden",
        "This gateway does not know your account, so your message was not passed on. "
        "Ask its operator to add you, or write from the account that was added.",
    ),
    "too-large": Explanation(
        "modify",
        "policy-violation",
        "Your message is too large to be passed on. Send it in smaller parts.",
    ),
    "unreadable": Explanation(
        "modify",
        "bad-request",
        "The gateway could not read this message, so it was not passed on. Send it again; "
        "if that fails too, your client and the gateway do not understand each other.",
    ),
    "busy": Explanation(
        "wait",
        "resource-constraint",
        "Too many encrypted sessions are being started at once. Wait a minute and try again.",
    ),
    "verify-again": Explanation(
        "wait",
        "policy-violation",
        "Your client's session could not be linked to the verified one. Compare the short authentication string with "
        "the gateway's operator; until then messages are held.",
    ),
    "far-leg-too-weak": Explanation(
        "cancel",
        "policy-violation",
        "The contact's side of the connection is not encrypted as well as this gateway's operator asks for, "
        "so your message was not passed on.",
    ),
    "room-not-encrypted": Explanation(
        "cancel",
        "policy-violation",
        "The contact's room on the other network is not encrypted, so your message was not passed on. "
        "Turn encryption on in that room, or leave it so that a new one is made.",
    ),
    "room-not-private": Explanation(
        "cancel",
        "policy-violation",
        "Others could read along in the contact's room on the other network, so your message was not passed on. "
        "Remove them from the room, or leave it so that a new one is made.",
    ),
    "contact-left": Explanation(
        "cancel",
        "not-allowed",
        "The contact left the room on the other network, so your message was not passed on. "
        "Ask the contact to come back or to accept a new invitation.",
    ),
    "contact-changed": Explanation(
        "cancel",
        "gone",
        "The operator of this gateway gave this contact another address while your message waited, "
        "so it was not passed on. Send it again if it is meant for the new address.",
    ),
    "no-devices": Explanation(
        "cancel",
        "policy-violation",
        "The contact has no device on the other network that can read encrypted messages, "
        "so your message was not passed on. Ask the contact to log in with a client that can.",
    ),
    "no-sessions": Explanation(
        "cancel",
        "policy-violation",
        "No encrypted session could be set up with any of the contact's devices, so your message was not passed on. "
        "Ask the contact to open the client on the other network, then send it again.",
    ),
    "far-forbidden": Explanation(
        "cancel",
        "forbidden",
        "The other network does not allow this message, so it was not passed on. Ask the gateway's operator why.",
    ),
}
ERRORS |= {
    "not-verified": Explanation(
        "wait",
        "policy-violation",
        "This contact only takes messages in a verified session, and yours is not verified. Compare the short "
        "authentication string with the gateway's operator, then send your message again.",
    ),
    "no-such-query": Explanation(
        "cancel",
        "feature-not-implemented",
        "The gateway does not know what your client asks for. What it asked has not been passed on to anybody.",
    ),
    "half-open": Explanation(
        "wait",
        "resource-constraint",
        "Too many encrypted sessions with your account are only half set up. Wait a minute and try again.",
    ),
}
ERRORS |= {
    "not-cross-signed": Explanation(
        "cancel",
        "policy-violation",
        "None of the contact's devices on the other network is signed by its owner, so your message was not passed on: "
        "any of them could be somebody else's. Ask the contact to set up their client's digital identity "
        "(“cross-signing”), or the gateway's operator to allow any device.",
    ),
    "identity-not-verified": Explanation(
        "wait",
        "policy-violation",
        "The gateway's operator has not verified this contact's identity on the other network yet, so your message was "
        "not passed on. Ask the operator to compare it with the contact, then send it again.",
    ),
}
ERRORS["devices-unknown"] = ERRORS["no-sessions"]

OTHER_ERROR = Explanation(
    "cancel",
    "not-allowed",
    "Your message could not be passed on to the other network. The gateway's operator can see why.",
)

NOTICES = {
    "waiting-no-session": "A message for you is waiting at the gateway. It can only be delivered in an encrypted "
    "session (ESession), and none of your connected clients offers one. Connect with a client that does, and it "
    "will arrive.",
    "waiting-negotiation": "A message for you is waiting at the gateway, but no encrypted session could be agreed on "
    "with your client. It is tried again later; starting an encrypted session with this contact yourself may help.",
    "waiting-verify": "A message for you is waiting at the gateway: your client's session could not be linked to the "
    "verified one. Compare the short authentication string with the gateway's operator; until then messages are held.",
    "identity-new": "Your client showed a key of its own for the first time. It is remembered; compare the short "
    "authentication string with the gateway's operator once, to be sure that the key is yours.",
    "identity-changed": "Your client shows another identity key than before. If you did not reinstall it, somebody may "
    "be posing as you: tell the gateway's operator before you write on.",
    "identity-elsewhere": "The identity key that your client shows is known as another user's. Tell the gateway's "
    "operator, unless both accounts are yours.",
    "shield-undone": "Your client, or somebody in between, refused to begin a session in a way that hides the identity "
    "of this contact from others. It is begun without that.",
    "identity-weaker": "Your client used to give better proof or stronger encryption than in this session. If you did "
    "not change it, somebody on the way may be weakening it: end the session and begin another.",
    "session-quantum-safe": "This session's keys hold against a quantum computer as well.",
    "session-classical": "This session is encrypted, but your client cannot make keys that hold against a quantum "
    "computer: who records the session today could read it with one later.",
    "session-ended": "The encrypted session with this contact was ended. Nothing is sent unencrypted because of it.",
}

NOTICES |= {
    "contact-identity-changed": "This contact's identity on the other network was replaced by another. If they did not "
    "reset it, somebody may be posing as them. Messages are held in both directions until the gateway's operator "
    "approves the new identity.",
    "contact-identity-gone": "This contact's identity on the other network is not shown any more. Messages are held in "
    "both directions until it is back. If the contact did not remove it, their server may be at fault.",
    "contact-not-verified": "This contact has written, but the gateway's operator has not verified their identity on "
    "the other network yet. What they write is held until then.",
    "contact-device-unsigned": "A message came from a device of this contact's that its owner has not signed: it could "
    "be somebody else's. The message is held. Ask the contact to verify that device with another of theirs.",
    "verification-asked": "This contact wants to verify your identity on the other network by comparing emoji. Ask the "
    "gateway's operator to take part in it; it waits for ten minutes.",
    "verification-done": "This contact's identity on the other network was verified.",
    "verification-cancelled": "The verification of this contact's identity on the other network was broken off from "
    "their side.",
    "contact-not-joined": "This contact has not accepted the gateway's invitation on the other network yet. Your "
    "messages wait until they do.",
}

OTHER_NOTICE = "The gateway has something to tell you that this version has no words for. Ask its operator."

ENCRYPTED_BODY = (
    "[This message is end-to-end encrypted (ESession). Your client did not recognise it, so it cannot be shown here.]"
)


def explanation(code: str) -> Explanation:
    """The error of a code; one that fits anything when the code has none of its own."""
    return ERRORS.get(code, OTHER_ERROR)


def notice(code: str) -> str:
    """The sentence of a notice."""
    return NOTICES.get(code, OTHER_NOTICE)
