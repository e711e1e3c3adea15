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
    "file-too-large": Explanation(
        "modify", "policy-violation", "Your file is larger than may be passed on to this contact, so it was not."
    ),
    "files-not-allowed": Explanation(
        "cancel", "not-allowed", "The gateway's operator does not let files pass to this contact."
    ),
    "file-gone": Explanation(
        "cancel",
        "item-not-found",
        "Your file was not passed on: it is not (or no longer) where your message says. Send it again.",
    ),
    "file-unavailable": Explanation(
        "cancel",
        "item-not-found",
        "Your file was not passed on: one of the servers that keep files did not answer for a whole day. "
        "Send it again.",
    ),
    "file-not-authentic": Explanation(
        "modify",
        "bad-request",
        "Your file was not passed on: what the server has is not what your client encrypted. Send it again.",
    ),
    "file-address-refused": Explanation(
        "cancel",
        "not-allowed",
        "Your file was not passed on: the gateway does not fetch from the address where it is. Its operator can allow "
        "that (files.allow_hosts).",
    ),
    "upload-refused": Explanation(
        "cancel",
        "not-allowed",
        "Your file was not passed on: the contact's server did not take it. Ask the gateway's operator why.",
    ),
    "upload-no-service": Explanation(
        "cancel", "not-allowed", "Your file was not passed on: there is no server that would take it."
    ),
    "upload-insecure": Explanation(
        "cancel",
        "not-allowed",
        "Your file was not passed on: the server that would take it does not protect what it transfers (https).",
    ),
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
        "cancel",
        "policy-violation",
        "The gateway's operator has not verified this contact's identity on the other network yet, so your message was "
        "not passed on. Ask the operator to compare it with the contact, then send it again.",
    ),
}
ERRORS["command-in-plain"] = Explanation(
    "auth",
    "forbidden",
    "This command was not encrypted, so it may be from anybody on the way: nothing was done. OMEMO does not encrypt "
    "commands. Write the same in an encrypted chat with the gateway (for example “devices”, or “trust” and the "
    "fingerprint), or ask its operator.",
)
ERRORS |= {
    "not-own-message": Explanation(
        "cancel",
        "not-allowed",
        "Only the person who wrote a message can correct it or take it back; this one is not yours.",
    ),
    "retractions-off": Explanation(
        "cancel",
        "not-allowed",
        "The operator of this gateway does not let messages to this contact be taken back. Yours stays as it is.",
    ),
}
ERRORS["devices-unknown"] = ERRORS["no-sessions"]
ERRORS["room-left"] = ERRORS["room-replaced"] = ERRORS["room-closed"] = Explanation(
    "cancel",
    "item-not-found",
    "The room with this contact on the other network is closed, and nobody has come into the one that takes its place. "
    "Ask the contact to accept the invitation, then send your message again.",
)

ERRORS |= {
    "omemo-not-verified": Explanation(
        "wait",
        "policy-violation",
        "Your device is not verified, so your message was not passed on: it could be from somebody who poses as you. "
        "Compare the device's fingerprint with the gateway (write “devices” to its own address from a verified device, "
        "or ask its operator), then send your message again.",
    ),
    "omemo-distrusted": Explanation(
        "cancel",
        "policy-violation",
        "Your message was not passed on: it was decided that this device is not trusted. Ask the gateway's operator.",
    ),
    "omemo-plain": Explanation(
        "modify",
        "policy-violation",
        "Your message was not encrypted, so it was not passed on: this contact only takes end-to-end encrypted "
        "messages. Turn OMEMO on for this contact in your client (the lock), and send it again.",
    ),
    "omemo-beside": Explanation(
        "modify",
        "policy-violation",
        "This reaction or retraction was not passed on: your client does not encrypt such things with this kind of "
        "OMEMO, so anybody on the way could have made it up. Say it in words, or ask the gateway's operator to allow "
        "it.",
    ),
    "omemo-not-for-us": Explanation(
        "modify",
        "policy-violation",
        "Your message was not encrypted for this contact's key, so it was not passed on. Open the contact's encryption "
        "settings in your client, trust the key that is shown there, then send your message again.",
    ),
    "omemo-undecryptable": Explanation(
        "modify",
        "not-acceptable",
        "Your message could not be decrypted, so it was not passed on. The keys are being set up anew: send it again "
        "in a minute.",
    ),
}

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
    "verification-asked": "This contact wants to verify your identity on the other network by comparing emoji. Within "
    "ten minutes, write “verify” and the contact's name to the gateway's own address, in an encrypted session, or ask "
    "the gateway's operator to take part in it.",
    "verification-done": "This contact's identity on the other network was verified.",
    "verification-cancelled": "The verification of this contact's identity on the other network was broken off from "
    "their side.",
    "gateway-help": "This is the gateway. It takes orders only encrypted (OMEMO, or an ESession): “contacts” lists "
    "your contacts, “verify” and a name verifies one, “help” tells the rest. Switch encryption on, and write again.",
    "gateway-encrypt": "This was not encrypted, so it may be from anybody on the way, and so might an answer be: "
    "nothing was done. Write to the gateway encrypted (OMEMO, or an ESession).",
    "history-left-out": "Messages that this contact wrote while the gateway was away were left out: they are older, or "
    "more, than its operator has it fetch, or the server does not give them any more. Your other clients may show "
    "them.",
    "contact-not-joined": "This contact has not accepted the gateway's invitation on the other network yet. Your "
    "messages wait until they do.",
}

_HELD_KEY = "A message of this contact's came, but the device that sent it did not give the gateway the key to read it"

NOTICES |= {
    "contact-key-not-proved": "A message came that could only be read with a key from a backup, so nobody can prove "
    "that this contact wrote it. As their identity has to be verified here, it is held until their device sends the "
    "key.",
    "key-withheld": f"{_HELD_KEY}. Ask the contact to send it again.",
    "key-withheld-unverified": f"{_HELD_KEY}: it only trusts verified devices. Ask the contact to verify you, and to "
    "send it again.",
    "key-withheld-blacklisted": f"{_HELD_KEY}: the contact has blocked the gateway's device. Ask them to allow it.",
    "key-withheld-unauthorised": f"{_HELD_KEY}: it says that the message is not for you. Ask the contact to send "
    "it again.",
    "key-withheld-unavailable": f"{_HELD_KEY}: it does not have the key itself. Ask the contact to send it again from "
    "the device that they wrote it on.",
    "key-withheld-no-olm": f"{_HELD_KEY}: no secure channel between the two could be set up. The gateway tries to set "
    "one up; if nothing comes, ask the contact to send it again.",
}

NOTICES |= {
    "reactions-ignored": "This contact reacted to a message. Reactions are not shown here: the other network carries "
    "them unencrypted, and the operator of this gateway has not allowed them for this contact.",
    "retractions-ignored": "This contact took a message back. It stays here: the operator of this gateway does not let "
    "messages be taken back.",
    "own-message-removed": "This contact, or the other network, removed a message of yours over there.",
    "kind-unsupported": "This contact sent something that cannot be shown here. Ask them to say it in words.",
}

_VERIFY_DEVICE = (
    "Compare its fingerprint with the one your client shows: write “devices” to the gateway's own address, or ask its "
    "operator (lockgate trust show)."
)

NOTICES |= {
    "omemo-device-new": "A device that is not verified was added to your account. If it is not yours, somebody is "
    f"posing as you. Nothing is sent to it, and nothing from it is passed on, before it is verified. {_VERIFY_DEVICE}",
    "omemo-device-changed": "One of your devices shows another OMEMO key than before. If you did not reinstall its "
    f"client, somebody may be posing as you. {_VERIFY_DEVICE}",
    "omemo-device-vouched": "A verified device of yours says that another one of yours is verified too: it counts as "
    "such from now on. If you did not verify it there, write “devices” to the gateway's own address.",
    "omemo-device-disowned": "A verified device of yours withdrew its trust in another one: nothing is sent to that "
    "one any more, and nothing from it is passed on. If that was not you, ask the gateway's operator.",
    "omemo-device-contested": "A verified device of yours says that another one of yours is verified too. You or the "
    f"operator said here that it is not to be trusted, and that holds. {_VERIFY_DEVICE}",
    "omemo-no-devices": "A message for you is waiting at the gateway: your account announces no OMEMO device. Open a "
    "client that speaks OMEMO, and turn OMEMO on in it.",
    "omemo-forbidden": "A message for you is waiting at the gateway: your account has no OMEMO device, or this contact "
    "may not know of it. Turn OMEMO on in your client; add this contact to your contact list, or let your client make "
    "its keys public (access model “open”).",
    "omemo-no-keys": "A message for you is waiting at the gateway: the keys of your OMEMO devices are not to be found. "
    "Open your client, so that it publishes them again.",
    "omemo-unverified": "None of your OMEMO devices is verified. What this contact writes goes to another client of "
    f"yours and not to them, and nothing from them is passed on. {_VERIFY_DEVICE}",
    "omemo-not-verified": "A message for you is waiting at the gateway: none of your OMEMO devices is verified. "
    f"{_VERIFY_DEVICE}",
}

OTHER_NOTICE = "The gateway has something to tell you that this version has no words for. Ask its operator."

ENCRYPTED_BODY = (
    "[This message is end-to-end encrypted (ESession). Your client did not recognise it, so it cannot be shown here.]"
)

OMEMO_BODY = "[This message is end-to-end encrypted (OMEMO). This client cannot read it.]"


def explanation(code: str) -> Explanation:
    """The error of a code; one that fits anything when the code has none of its own."""
    return ERRORS.get(code, OTHER_ERROR)


def notice(code: str) -> str:
    """The sentence of a notice."""
    return NOTICES.get(code, OTHER_NOTICE)
