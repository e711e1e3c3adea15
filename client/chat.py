"""`python -m client.chat JID`: a small client that speaks Encrypted Sessions with one contact."""

import argparse
import asyncio
import contextlib
import getpass
import logging
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from slixmpp import JID, InvalidJID

from client.account import Login, Trace
from client.endpoint import Endpoint
from client.front import EXIT_USAGE, Chat, Front
from client.front_json import JsonFront
from client.front_json import tell as tell_json
from client.front_pipe import PipeFront
from client.keyring import opened
from client.store import SqliteStore, StoreUnusable
from client.surroundings import ContactSettings
from crypto.esession.passwords import UnusablePassword, password_octets
from crypto.esession.terms import Terms

DESCRIPTION = "Talk to one contact over XMPP in an Encrypted Session (XEP-0116)."
EPILOG = """\
In a terminal: line editing, a status line, commands (/help). In a pipe: lines of standard input are sent in order,
the end of input waits for acknowledgements; messages received are printed as lines. Exit status: 0 all delivered,
1 something was not delivered, 2 the login failed or the command line is wrong.
"""


class Usage(Exception):
    """The command line, or something it names, is not right."""


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser("lockgate chat", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("contact", metavar="JID", help="the contact, for example bob@matrix.example.org")
    add_login(parser)
    parser.add_argument("--store", type=Path, metavar="FILE", help="kept messages, secrets (~/.local/share/lockgate)")
    parser.add_argument(
        "--session-password-file", type=Path, metavar="FILE", help="a password that the contact's end knows as well"
    )
    parser.add_argument("--show-key", action="store_true", help="show a key of your own to an end that asks for one")
    parser.add_argument("--keys", type=Path, metavar="FILE", help="where your keys are (as for lockgate send)")
    parser.add_argument(
        "--accept-single",
        action="store_true",
        help="take messages that are sealed alone (lockgate send); shows your key",
    )
    parser.add_argument(
        "--peer-key", choices=("none", "ask", "require"), default="none", help="whether the contact's end shows a key"
    )
    parser.add_argument(
        "--require-post-quantum", action="store_true", help="no sessions that a later quantum computer could open"
    )
    parser.add_argument("--tell-typing", action="store_true", help="in a terminal: tell the contact that you write")
    parser.add_argument("--json", action="store_true", help="commands and events as JSON lines (docs/client.md)")
    parser.add_argument(
        "--drain-timeout", type=float, default=60.0, metavar="S", help="longest wait at the end of input"
    )
    return parser


def add_login(parser: argparse.ArgumentParser) -> None:
    """The options that say how to log in."""
    parser.add_argument("--account", metavar="JID", help="your own XMPP account (or LOCKGATE_ACCOUNT)")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="its password; asked for when not given")
    parser.add_argument("--host", help="where the server is, when DNS does not say")
    parser.add_argument("--port", type=int, help="its port (5222)")
    parser.add_argument("--ca-file", type=Path, metavar="PEM", help="an issuer of certificates to trust as well")
    parser.add_argument(
        "--insecure-loopback", action="store_true", help="do not check the certificate; only with a loopback --host"
    )
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write raw stanzas here, as the server sees them")


def bare_jid(text: str | None, what: str, *, resource: bool = False, domain: bool = False) -> str:
    """A JID with a local part, normalised; with `domain` it may have none. Raises Usage."""
    try:
        jid = JID(text or "")
    except InvalidJID:
        jid = JID("")
    if not (jid.user or (domain and "." in jid.domain)) or (jid.resource and not resource):
        raise Usage(f"{what} must look like name@domain, not {text!r}")
    return str(jid.full if resource else jid.bare)


def password_from(file: Path | None) -> str:
    """The account's password. Raises Usage."""
    if file is None:
        if not sys.stdin.isatty():
            raise Usage("there is no terminal to ask for the password: use --password-file")
        return getpass.getpass("Password: ")
    return secret_in(file, "--password-file")


def secret_in(file: Path, option: str) -> str:
    """The text of a file that only its owner can read. Raises Usage."""
    try:
        mode = file.stat().st_mode & 0o777
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"{option} cannot be read: {error}") from None
    if mode & 0o077:
        raise Usage(f"{option} can be read by others (mode {mode:04o}); chmod 600 {file}")
    return text.rstrip("\r\n")


def default_store(account: str) -> Path:
    """Where things are kept when the command line does not say: one file per account."""
    base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "lockgate" / f"{account.replace('/', '_')}.db"


def default_keys(account: str) -> Path:
    """Where the account's own keys are, beside what else is kept."""
    return default_store(account).with_suffix(".keys")


def draw(_: str, size: int) -> bytes:
    """`size` octets of the operating system's randomness."""
    return secrets.token_bytes(size)


def settings_of(options: argparse.Namespace, account: str) -> ContactSettings:
    """What is agreed to in sessions. Raises Usage."""
    settings = ContactSettings()
    try:
        if options.session_password_file is not None:
            octets = password_octets(secret_in(options.session_password_file, "--session-password-file"))
            settings = replace(settings, terms=replace(settings.terms, password=octets))
        if options.show_key or options.accept_single:
            with opened(options.keys or default_keys(account), draw, patience_s=60.0) as keyring:
                first, *others = keyring.identities
            terms = replace(settings.terms, identity=first, other_identities=tuple(others))
            settings = replace(settings, terms=terms)
        settings = replace(settings, terms=_asked(settings.terms, options))
    except (UnusablePassword, StoreUnusable) as error:
        raise Usage(str(error)) from None
    return settings


_PEER_KEYS = {"none": ("none",), "ask": ("key", "hash", "none"), "require": ("key", "hash")}


def _asked(terms: Terms, options: argparse.Namespace) -> Terms:
    """What the command line asks of the contact's end."""
    ways = _PEER_KEYS[options.peer_key]
    if options.accept_single and "key" not in ways:
        ways = ("none", "key")
    return replace(
        terms, peer_keys=ways, three_message=options.accept_single, require_hybrid=options.require_post_quantum
    )


def prepared(options: argparse.Namespace) -> tuple[Login, str, SqliteStore, Trace | None]:
    """All that a conversation needs. Raises Usage."""
    contact = bare_jid(options.contact, "the contact", domain=True)
    login = login_of(options, contact)
    try:
        store = SqliteStore(options.store or default_store(login.jid.partition("/")[0]))
        return login, contact, store, Trace(options.trace) if options.trace else None
    except (ValueError, OSError, StoreUnusable) as error:
        raise Usage(str(error)) from None


def login_of(options: argparse.Namespace, contact: str) -> Login:
    """How to log in. Raises Usage."""
    account = bare_jid(options.account or os.environ.get("LOCKGATE_ACCOUNT"), "--account", resource=True)
    if account.partition("/")[0] == contact:
        raise Usage("the contact is the account itself")
    port = options.port or (5222 if options.host else None)
    if options.port and not options.host:
        raise Usage("--port needs --host")
    try:
        return Login(
            account,
            password_from(options.password_file),
            options.host,
            port,
            options.ca_file,
            options.insecure_loopback,
        )
    except ValueError as error:
        raise Usage(str(error)) from None


def front_for(options: argparse.Namespace) -> Front:
    """The way to show it."""
    if options.json:
        return JsonFront(options.drain_timeout)
    if sys.stdin.isatty() and sys.stdout.isatty():
        from client.front_terminal import TerminalFront  # noqa: PLC0415 - a slow import, of no use in a pipe

        return TerminalFront(tell_typing=options.tell_typing)
    return PipeFront(options.drain_timeout)


async def converse(endpoint: Callable[[], Endpoint], contact: str, front: Front) -> int:
    """The whole conversation; returns the exit status."""
    return await Chat(endpoint(), contact, front).run()


def main(arguments_given: list[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = arguments().parse_args(arguments_given)
    logging.basicConfig(level=logging.CRITICAL)
    try:
        login, contact, store, trace = prepared(options)
        settings = settings_of(options, login.jid.partition("/")[0])
    except Usage as error:
        if options.json:
            tell_json("error", text=str(error))
        sys.stderr.write(f"lockgate chat: {error}\n")
        return EXIT_USAGE
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(
            converse(lambda: Endpoint(login, contact, store, settings, trace), contact, front_for(options))
        )
    return 130


if __name__ == "__main__":
    sys.exit(main())
