"""`python -m client.send JID TEXT`: one message, sealed, sent and over at once. For shells and scripts."""

import argparse
import asyncio
import logging
import re
import secrets
import sys
from pathlib import Path

from slixmpp import JID

from client.account import Login, Trace
from client.chat import Usage, add_login, bare_jid, default_keys, draw, login_of
from client.front import EXIT_OK, EXIT_UNDELIVERED, EXIT_USAGE
from client.keyring import Keyring, opened
from client.once import Once, Stage, Trust
from client.sender import Failed, Sender
from client.stanzas import MAX_BODY_OCTETS
from client.store import StoreUnusable
from crypto.esession.identities import shown
from crypto.xml import sanitise_text

DESCRIPTION = "Send one message to a contact over XMPP, end-to-end encrypted, without a session (XEP-0116)."
EPILOG = """\
The contact's end must accept negotiations of three messages and show a key (for a contact of this gateway:
esession: {one_shot: accept, public_keys: [key, hash]}). The key is kept, and another one is refused later. Exit status:
0 sent, and nothing came back that says otherwise; 1 refused, or it could not be sent; 2 the login failed or the command
line is wrong.
"""
PATIENCE_S = 60.0
"""How long another `lockgate send` of the same account may have the keys."""
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser("lockgate send", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("contact", metavar="JID", help="the contact, for example bob@matrix.example.org")
    parser.add_argument("text", metavar="TEXT", help="the message; - reads it from standard input")
    add_login(parser)
    parser.add_argument("--keys", type=Path, metavar="FILE", help="your keys and those of contacts")
    parser.add_argument("--fingerprint", metavar="HEX", help="the only key of the contact's that is good (SHA-256)")
    parser.add_argument("--known-only", action="store_true", help="not to a contact whose key was never seen")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="S", help="longest wait until it is sent")
    parser.add_argument("--wait", type=float, default=10.0, metavar="S", help="longest wait for a receipt after that")
    parser.add_argument("--my-key", action="store_true", help="print the fingerprint of your own key first")
    return parser


def text_of(given: str) -> str:
    """The message. Raises Usage."""
    text = sanitise_text(sys.stdin.read().removesuffix("\n") if given == "-" else given)
    if not text or len(text.encode()) > MAX_BODY_OCTETS:
        raise Usage(f"a message must have a text of at most {MAX_BODY_OCTETS} octets")
    return text


def fingerprint_of(given: str | None) -> str | None:
    """64 small hexadecimal digits. Raises Usage."""
    if given is None:
        return None
    digits = re.sub(r"[: ]", "", given).lower()
    if not _FINGERPRINT.fullmatch(digits):
        raise Usage("--fingerprint must be a SHA-256 fingerprint: 64 hexadecimal digits")
    return digits


async def deliver(options: argparse.Namespace, login: Login, keyring: Keyring, text: str) -> Once:
    """Send it and wait for what comes back. Raises Failed, Usage."""
    contact = JID(bare_jid(options.contact, "the contact", resource=True))
    pinned = fingerprint_of(options.fingerprint)
    sender = Sender(login, contact, Trace(options.trace) if options.trace else None)

    def made(peer: str) -> Once:
        ids = secrets.token_hex(16), secrets.token_hex(16)
        return Once(peer, *ids, keyring, draw, pinned=pinned, known_only=options.known_only)

    return await sender.deliver(made, text, timeout_s=options.timeout, wait_s=options.wait)


def reported(once: Once) -> int:
    """Say what became of it; returns the exit status."""
    key = "" if once.key is None else shown(once.key.fingerprint())
    if once.trust is Trust.FIRST and once.stage is not Stage.REFUSED:
        _say(f"the contact's key is new, and kept from now on; compare it with your contact: {key}")
    if once.trust in _DISTRUST:
        _say(f"not sent: {_DISTRUST[once.trust]}: {key or 'no key at all'}")
        return EXIT_UNDELIVERED
    if once.stage is Stage.REFUSED:
        detail = f": {once.sentence}" if once.sentence else ""
        _say(f"refused ({once.condition}){detail}{_HINTS.get(once.condition, '')}")
        return EXIT_UNDELIVERED
    _say(_SENT[once.stage])
    return EXIT_OK


_DISTRUST = {
    Trust.UNKNOWN: "the contact's key was never seen before",
    Trust.CHANGED: "the contact shows another key than before; if that is right, name it with --fingerprint",
    Trust.OTHER: "the contact shows another key than the one that was named",
}
_HINTS = {
    "not-acceptable": ". The contact's end may not accept single messages: use lockgate chat",
    "feature-not-implemented": ". The contact's end may not accept single messages: use lockgate chat",
    "declined": ". The contact's end does not want this: use lockgate chat",
}
_SENT = {
    Stage.SENT: "sent; no receipt came",
    Stage.RECEIPT_IN_PLAIN: "sent; a receipt came, but not encrypted: anybody on the way may have written it",
    Stage.ACKNOWLEDGED: "sent, and acknowledged",
}


def _say(sentence: str) -> None:
    sys.stderr.write(f"{''.join(char if char.isprintable() else '?' for char in sentence)}\n")


def run(options: argparse.Namespace) -> int:
    """Everything after the command line. Raises Usage, StoreUnusable, Failed."""
    contact = bare_jid(options.contact, "the contact", resource=True)
    login = login_of(options, contact.partition("/")[0])
    fingerprint_of(options.fingerprint)
    text = text_of(options.text)
    account = login.jid.partition("/")[0]
    with opened(options.keys or default_keys(account), draw, patience_s=PATIENCE_S) as keyring:
        if options.my_key:
            _say(f"your key: {shown(keyring.identities[0].public.fingerprint())}")
        return reported(asyncio.run(deliver(options, login, keyring, text)))


def main(arguments_given: list[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = arguments().parse_args(arguments_given)
    logging.basicConfig(level=logging.CRITICAL)
    try:
        return run(options)
    except (Usage, StoreUnusable) as error:
        sys.stderr.write(f"lockgate send: {error}\n")
        return EXIT_USAGE
    except Failed as error:
        sys.stderr.write(f"lockgate send: {error}\n")
        return EXIT_USAGE if error.login else EXIT_UNDELIVERED
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
