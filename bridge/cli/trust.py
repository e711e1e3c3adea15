"""`lockgate trust`: the operator compares and decides; the order reaches the enclave past the gateway process."""

import hmac
import sys
from pathlib import Path
from typing import Any

from bridge.cli import devices, output
from bridge.cli.admin import ask
from bridge.cli.status import PEER, STYLES, grouped, is_weak, peers, rows, with_kinds
from bridge.config.handover import alias
from bridge.config.load import load_config
from bridge.config.models import Config
from bridge.config.networks import NEAR_NETWORK
from bridge.errors import OperatorError, Problem, WorldError
from bridge.wire.values import GATEWAY_CONTACT

SHOWN = ("account", "contact", "network", "state", "sas", "verified", "peer", "string", "proof")
WEAK = (
    "This string is of the old kind: somebody in between can make it the same at both ends within seconds. That it"
    " matches proves little."
)
_REFUSALS = {
    "no-session": ("no session is active", "Wait until the user has written, then compare again."),
    "other-session": ("the session or identity was replaced meanwhile", "Compare anew: lockgate trust show"),
    "unknown": ("the enclave does not know this leg", "See: lockgate trust show"),
    "weak-string": (
        WEAK,
        "To count it nevertheless: --weak-string. Better: a client that has the bound string, a password or a key.",
    ),
    "weak-string-refused": (
        "the string is of the old kind, which weak_string: refuse never counts",
        "Compare with a client that has the bound string.",
    ),
    "no-identity": ("the contact has shown no identity yet", "Let the user write to the contact, then try again."),
    "identity-changed": (
        "the contact shows another identity than before",
        "If it is theirs, take it first: lockgate trust approve",
    ),
    "nothing-to-approve": ("the contact's identity is the one that is known", "See: lockgate trust show"),
    "unknown-decision": ("there is nothing like that to decide on this leg", "See: lockgate trust show"),
    "unknown-key": ("no device of the user has shown that key", "See: lockgate trust show"),
    "no-answer": ("the enclave does not answer", "See: lockgate status"),
}


_POSING = "Somebody may be posing as the user. Do not verify the device; ask them which devices they have."


def show_trust(config: Path, account: str | None, *, as_json: bool) -> None:
    """Each leg's string and standing."""
    loaded = load_config(config)
    if account is not None:
        _require_account(loaded, account)
    legs = [leg for leg in _legs(loaded) if account in (None, leg.get("account"))]
    if as_json:
        output.as_json(legs)
        return
    output.table([name.upper() for name in SHOWN], rows(with_kinds(legs), SHOWN), STYLES)
    if any(is_weak(leg) for leg in legs):
        output.line()
        output.line("A weak string proves little: somebody in between can make it the same at both ends.", "yellow")
    if identities := peers(legs):
        output.line()
        output.table([name.upper() for name in PEER], rows(identities, PEER), STYLES)
    devices.show(legs, STYLES, rows)


def show_codes(config: Path, account: str | None, contact: str | None, *, omemo_2: bool) -> None:
    """The keys of the contacts' OMEMO devices, as codes that the user's client scans."""
    loaded = load_config(config)
    if account is not None:
        _require_account(loaded, account)
        _require_contact(loaded, account, contact)
    legs = [leg for leg in _legs(loaded) if account in (None, leg.get("account"))]
    jids = {(owner, name): alias(loaded, name) for owner, its in loaded.accounts.items() for name in its.contacts}
    jids |= {(owner, GATEWAY_CONTACT): loaded.xmpp.component.jid for owner in loaded.accounts}
    if not devices.show_codes(legs, jids, contact, omemo_2=omemo_2):
        remedy = "Set accounts.NAME.omemo to {use: on}; its keys are made when the gateway runs."
        raise WorldError(Problem("no-device", account or "", "no contact is an OMEMO device yet", remedy))


def decide_device(
    config: Path, account: str, contact: str, decision: str, *, device: int | None, shown_there: str | None
) -> None:
    """`verify` or `distrust` one of the user's OMEMO devices: the one of that number, or with that key."""
    loaded = load_config(config)
    leg, legs = _leg(loaded, account, contact, NEAR_NETWORK), _legs(loaded)
    key = devices.chosen_key(legs, account, device, shown_there)
    if decision == "verify" and shown_there is None:
        shown = f"Lockgate was shown:  {devices.fingerprint(key)}"
        if not _confirmed(shown, "Does the user's client show the same for its own device?"):
            raise WorldError(_problem("different", leg, "the keys differ, or were not confirmed", _POSING))
    _decide(loaded, leg, decision, device_key=key)
    done = "is verified" if decision == "verify" else "is not trusted any more"
    output.line(f"The device of {account} with the key {devices.fingerprint(key)} {done}.")


def verify(
    config: Path,
    account: str,
    contact: str,
    *,
    network: str | None,
    shown_there: str | None,
    weak_string: bool = False,
) -> None:
    """Compare the string or the identity, then tell the enclave that the leg is verified.

    A string that somebody between can try out counts only with `weak_string`.
    """
    loaded = load_config(config)
    leg = _leg(loaded, account, contact, network)
    if isinstance(leg.get("identity"), dict):
        _compare_identity(leg, shown_there)
    else:
        if is_weak(leg):
            if not weak_string:
                raise WorldError(_problem("weak-string", leg, *_REFUSALS["weak-string"]))
            output.line(WEAK, "bold yellow")
        _compare_string(leg, shown_there)
    _decide(loaded, leg, "verify-weak-string" if weak_string and is_weak(leg) else "verify")
    output.line(f"{account}/{contact} is verified.", "green")


def approve(config: Path, account: str, contact: str, *, network: str | None, shown_there: str | None) -> None:
    """Take the identity that a contact shows in place of the one that is known; what was held is released."""
    loaded = load_config(config)
    leg = _leg(loaded, account, contact, network, changed=True)
    told = leg.get("identity")
    if not isinstance(told, dict):
        found = "this leg has no identity that could change"
        raise OperatorError(_problem("no-identity", leg, found, "It is for Matrix contacts: --network matrix"))
    if told.get("state") != "changed":
        raise WorldError(_problem("nothing-to-approve", leg, *_REFUSALS["nothing-to-approve"]))
    _compare_identity(leg, shown_there)
    _decide(loaded, leg, "approve")
    output.line(f"The new identity of {account}/{contact} is taken. What was held is on its way.", "green")


def _compare_identity(leg: dict[str, Any], given: str | None) -> None:
    """Raises WorldError unless the operator says that the contact's own client shows the same key."""
    key = leg["identity"].get("key")
    if not isinstance(key, str):
        raise WorldError(_problem("no-identity", leg, *_REFUSALS["no-identity"]))
    if given is not None:
        agreed = hmac.compare_digest("".join(given.split()).encode(), key.encode())
    else:
        agreed = _confirmed(f"Lockgate shows the master key:  {grouped(key)}", "Is that the contact's own?")
    if not agreed:
        remedy = "Somebody may be posing as the contact. Do not take it; ask them by another way."
        raise WorldError(_problem("different", leg, "the keys differ, or were not confirmed", remedy))


def _compare_string(leg: dict[str, Any], sas: str | None) -> None:
    shown = leg.get("sas")
    if not isinstance(shown, str):
        found = "this leg has no session with a short authentication string now"
        raise WorldError(_problem("no-string", leg, found, "Let the user write to the contact, then try again."))
    if not _agreed(shown, sas):
        remedy = "Somebody may be in between. Do not verify; end the session and compare a new one."
        raise WorldError(_problem("different", leg, "the strings differ, or were not confirmed", remedy))


def distrust(config: Path, account: str, contact: str, *, network: str | None) -> None:
    """Take a verification back."""
    loaded = load_config(config)
    _decide(loaded, _leg(loaded, account, contact, network), "distrust")
    output.line(f"{account}/{contact} is no longer trusted.")


def _agreed(shown: str, given: str | None) -> bool:
    if given is not None:
        return hmac.compare_digest(given.strip().lower().encode(), shown.encode())
    return _confirmed(f"Lockgate shows:  {output.safe(shown)}", "Does the other end show the same?")


def _confirmed(shown: str, question: str) -> bool:
    if not sys.stdin.isatty():
        remedy = "Give what the other end shows: --sas TEXT, or --key TEXT for an identity"
        raise OperatorError(Problem("no-terminal", "", "there is no terminal to ask on", remedy))
    output.line(shown, "bold")
    reply = input(f"{question} Compare by voice or in person. [y/N] ")
    return reply.strip().lower() in {"y", "yes"}


def _decide(config: Config, leg: dict[str, Any], decision: str, *, device_key: str | None = None) -> None:
    order = {"op": "trust", "decision": decision, **{name: leg[name] for name in ("account", "contact", "network")}}
    if device_key is not None:
        order |= {"device_key": device_key}
    elif decision != "distrust":
        compared = leg.get("identity")
        order |= {"key": compared["key"]} if isinstance(compared, dict) else {"sas": leg["sas"]}
    code = str(ask(config.admin_socket, order).get("code", "no-reply"))
    if code != "ok":
        found, remedy = _REFUSALS.get(code, (f"the enclave answered “{output.safe(code)}”", "See: lockgate trust show"))
        raise WorldError(_problem(code, leg, found, remedy))


def _legs(config: Config) -> list[dict[str, Any]]:
    found = ask(config.admin_socket, {"op": "status"}).get("legs")
    return [leg for leg in found if isinstance(leg, dict)] if isinstance(found, list) else []


def _leg(config: Config, account: str, contact: str, network: str | None, *, changed: bool = False) -> dict[str, Any]:
    """The leg meant: the named network's, else the one that has a string (or an identity), else the near one."""
    _require_account(config, account)
    _require_contact(config, account, contact)
    legs = [leg for leg in _legs(config) if (leg.get("account"), leg.get("contact")) == (account, contact)]
    networks = [str(leg.get("network")) for leg in legs]
    if network is not None and network not in networks:
        raise unknown("leg on network", network, networks)
    chosen = [leg for leg in legs if network in (None, leg.get("network"))]
    with_string = [leg for leg in chosen if leg.get("identity" if changed else "sas")]
    if not chosen:
        found = "the gateway holds no session for this contact yet"
        remedy = "Let the user write to the contact, then try again."
        raise WorldError(Problem("no-leg", f"{account}/{contact}", found, remedy))
    return (with_string or chosen)[0]


def _require_contact(config: Config, account: str, contact: str | None) -> None:
    contacts = config.accounts[account].contacts
    if contact is not None and contact not in contacts and contact != GATEWAY_CONTACT:
        raise unknown("contact", contact, sorted(contacts))


def _require_account(config: Config, account: str) -> None:
    if account not in config.accounts:
        raise unknown("account", account, sorted(config.accounts))


def _problem(code: str, leg: dict[str, Any], found: str, remedy: str) -> Problem:
    where = "/".join(output.safe(leg.get(name)) for name in ("account", "contact", "network"))
    return Problem(code, where, found, remedy)


def unknown(what: str, name: str, known: list[str]) -> OperatorError:
    """The error for a name that the configuration does not have."""
    listed = ", ".join(known) if known else "there are none"
    return OperatorError(Problem("unknown-name", "", f"there is no {what} “{output.safe(name)}”", f"Known: {listed}."))
