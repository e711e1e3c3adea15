"""`lockgate matrix`: an account's own identity. Its secrets pass between the operator and the enclave only."""

import getpass
import sys
import time
from pathlib import Path
from typing import Any, Final

from bridge.cli import output
from bridge.cli.admin import ask
from bridge.cli.status import OWN, STYLES, grouped, rows
from bridge.cli.trust import unknown
from bridge.config.load import load_config
from bridge.config.models import Config
from bridge.config.reference import BadFile, Reference
from bridge.config.secrets import session_password
from bridge.errors import OperatorError, Problem, WorldError
from bridge.probe.identity import advice

PATIENCE_S: Final = 60.0
_ASK_EVERY_S: Final = 0.5
_STARTED: Final = "started"
_REFUSALS: Final = {
    "unknown-account": ("the account's state is not in memory", "Wait until the gateway is up, then try again."),
    "not-connected": ("the account has not logged in to Matrix yet", "See: lockgate status"),
    "no-answer": ("the enclave does not answer", "See: lockgate status"),
    # of the recovery key
    "already-shown": (
        "the recovery key was shown before, or another client made it",
        "The key that was written down then is the one; Lockgate keeps no copy.",
    ),
    "identity-elsewhere": ("another client made the identity", "Its recovery key joins it: lockgate matrix recover"),
    "no-identity": ("the account has no identity yet", "Wait a moment; lockgate matrix identity tells how it stands."),
    "not-stored": ("the identity is not stored yet", "Wait a moment; lockgate matrix identity tells how it stands."),
    # of recovering
    "already-ours": ("the gateway has the account's identity already", "There is nothing to recover."),
    "wrong-key": (
        "this is not the recovery key or security phrase of the account's secret storage",
        "Type it again; Element calls it “recovery key”. It is not the account's password.",
    ),
    "no-storage": (
        "the homeserver has no secret storage of this account with an identity in it",
        "Have the client that made the identity set up recovery (in Element: Settings, Encryption).",
    ),
    "malformed-storage": (
        "what the homeserver gave as the account's secret storage cannot be read",
        "Have another client set up recovery anew, then try again.",
    ),
    "not-this-identity": (
        "the keys in the secret storage are not those of the identity that the homeserver shows",
        "Have the client that is verified set up recovery anew. If none of yours changed it, your homeserver lies.",
    ),
    "server-unavailable": ("the homeserver did not give the account's secret storage", "Try again later."),
}


_BACKUPS = {
    "foreign": "The account has a key backup that the gateway cannot read: lockgate matrix recover joins it.",
    "no-storage-key": "The account has no key backup: lockgate matrix recover lets the gateway make one.",
    "switched-off": "The account's key backup was switched off by another client.",
}


def show_identity(config: Path, account: str, *, as_json: bool) -> None:
    """How the account's own identity stands."""
    told = _identity(_loaded(config, account), account)
    if as_json:
        output.as_json(told)
        return
    shown = {**told, "key": grouped(told.get("key"))}
    output.table([name.upper().replace("_", " ") for name in OWN], rows([shown], OWN), STYLES)
    said = advice(told)
    output.line(f"The account's identity: {said.found}.")
    if said.remedy:
        output.line(said.remedy)
    backup = _BACKUPS.get(str(told.get("backup")))
    if backup:
        output.line(backup)


def show_recovery_key(config: Path, account: str) -> None:
    """Print the recovery key. It is shown this once, so it is printed before anything else can go wrong."""
    reply = ask(_loaded(config, account).admin_socket, {"op": "recovery-key", "account": account})
    key = reply.get("key")
    if reply.get("code") != "ok" or not isinstance(key, str):
        raise _refusal(account, reply.get("code"))
    output.line(output.safe(key), "bold")
    if sys.stdout.isatty():
        output.line("Write it down and keep it in a safe place: Lockgate does not show it again, and has no copy.")


def recover(config: Path, account: str, key_file: Path | None) -> None:
    """Hand the recovery key or phrase to the enclave, and wait for what comes of it."""
    loaded = _loaded(config, account)
    order: dict[str, object] = {"op": "recover", "account": account, "secret": _secret(key_file)}
    code = ask(loaded.admin_socket, order).get("code")
    until = time.monotonic() + PATIENCE_S
    while code == _STARTED and time.monotonic() < until:
        time.sleep(_ASK_EVERY_S)
        code = _identity(loaded, account).get("recovered")
    if code == _STARTED:
        remedy = f"See: lockgate matrix identity {account}"
        raise WorldError(Problem(_STARTED, account, "the homeserver has not answered yet", remedy))
    if code != "ok":
        raise _refusal(account, code)
    output.line(f"{account} has joined the identity; the gateway's device is being signed.", "green")


def _secret(key_file: Path | None) -> str:
    """The recovery key or phrase: never from the command line, which others can see."""
    if key_file is not None:
        return _of_file(key_file)
    if not sys.stdin.isatty():
        remedy = "Give a file that holds it: --key-file FILE"
        raise OperatorError(Problem("no-terminal", "", "there is no terminal to ask on", remedy))
    typed = getpass.getpass("Recovery key or security phrase (not shown): ").strip()
    if not typed or not typed.isprintable():
        raise OperatorError(Problem("empty", "", "nothing was typed that could be one", "Type it once more."))
    return typed


def _of_file(key_file: Path) -> str:
    trouble: BadFile
    try:
        return session_password(Reference(str(key_file), Path.cwd()))
    except BadFile as error:
        trouble = error
    raise OperatorError(Problem(trouble.code, str(key_file), trouble.found, trouble.remedy))


def _identity(config: Config, account: str) -> dict[str, Any]:
    told = ask(config.admin_socket, {"op": "status"}).get("identities")
    found = [entry for entry in told if isinstance(entry, dict)] if isinstance(told, list) else []
    for entry in found:
        if entry.get("account") == account:
            return entry
    raise _refusal(account, "unknown-account")


def _loaded(config: Path, account: str) -> Config:
    loaded = load_config(config)
    if account not in loaded.accounts:
        raise unknown("account", account, sorted(loaded.accounts))
    if loaded.accounts[account].matrix is None:
        problem = Problem("no-matrix", account, "this account has no Matrix user", "See accounts.NAME.matrix.")
        raise OperatorError(problem)
    return loaded


def _refusal(account: str, code: object) -> WorldError:
    word = str(code)
    found, remedy = _REFUSALS.get(word, (f"the enclave answered “{output.safe(word)}”", "See: lockgate status"))
    return WorldError(Problem(word, account, found, remedy))
