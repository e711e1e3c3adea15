"""OMEMO devices on the command line: those of the contacts, those of the users, and what is believed of them."""

import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from bridge.cli import output
from bridge.cli.codes import STYLE, drawn
from bridge.errors import OperatorError, Problem, WorldError

USERS = ("account", "device", "state", "by", "active", "key")
CONTACTS = ("account", "contact", "device", "key")
_FINGERPRINT = re.compile(r"(?:05)?([0-9a-f]{64})")
_PRIME = 2**255 - 19
Leg = Mapping[str, Any]


def fingerprint(key: object) -> str:
    """A key for people, as OMEMO clients show it: eight groups of eight digits."""
    text = str(key or "")
    return " ".join(text[at : at + 8] for at in range(0, len(text), 8))


def read_fingerprint(text: str | None) -> str | None:
    """The digits of what somebody copied; None for what is no such key."""
    found = _FINGERPRINT.fullmatch(re.sub(r"[\s:-]", "", text or "").lower())
    return None if found is None else found[1]


def uri(jid: str, device: object, key: object) -> str:
    """The address that clients show as a code, and scan."""
    return f"xmpp:{quote(jid, safe='@')}?omemo-sid-{device}={key}"


def trust_uri(jid: str, key: str) -> str:
    """The same for clients of omemo:2 (a Trust Message URI, XEP-0434), which know keys by their Ed25519 form.

    `key`: a contact's, whose sign bit is 0. ValueError for what is no key.
    """
    point = int.from_bytes(bytes.fromhex(key), "little")
    signing = (point - 1) * pow(point + 1, -1, _PRIME) % _PRIME  # RFC 7748, section 4.1
    form = signing.to_bytes(32, "little").hex()
    return f"xmpp:{quote(jid, safe='@')}?trust-message;encryption=urn:xmpp:omemo:2;trust={form}"


def show_codes(legs: Sequence[Leg], jids: Mapping[tuple[str, str], str], contact: str | None, *, omemo_2: bool) -> bool:
    """A code to scan for each contact's device, or for that of one; False: there is none."""
    shown = False
    for leg in legs:
        where, told = (str(leg.get("account")), str(leg.get("contact"))), leg.get("device")
        jid = jids.get(where) if isinstance(told, dict) and contact in (None, where[1]) else None
        key = read_fingerprint(str(told.get("key"))) if isinstance(told, dict) else None
        if jid is None or key is None or not isinstance(told, dict):
            continue
        text = trust_uri(jid, key) if omemo_2 else uri(jid, told.get("id"), key)
        output.line()
        output.line(f"{'/'.join(where)}, which is {jid} at the user's end", "bold")
        for line in drawn(text.encode()):
            output.line(line, STYLE)
        output.line(output.safe(text))
        shown = True
    return shown


def users(legs: Sequence[Leg]) -> list[dict[str, object]]:
    """The devices of the accounts' users, each with its key."""
    return [
        {
            "account": leg.get("account"),
            **_row(each),
            "state": each.get("state"),
            "by": _decider(each),
            "active": each.get("active"),
        }
        for leg in legs
        for each in _devices(leg)
    ]


def contacts(legs: Sequence[Leg]) -> list[dict[str, object]]:
    """The devices that stand for contacts."""
    own = ((leg, leg["device"]) for leg in legs if isinstance(leg.get("device"), dict))
    return [{**{name: leg.get(name) for name in ("account", "contact")}, **_row(device)} for leg, device in own]


def _row(device: Mapping[str, Any]) -> dict[str, object]:
    return {"device": device.get("id"), "key": fingerprint(device.get("key"))}


def _decider(device: Mapping[str, Any]) -> str:
    """Who decided about the device; `device N`: it is taken over from the user's device of that number."""
    by = str(device.get("by") or "nobody")
    return {"nobody": "-", "device": f"device {device.get('voucher')}"}.get(by, by)


def _devices(leg: Leg) -> Iterator[Mapping[str, Any]]:
    told = leg.get("device")
    found = told.get("devices") if isinstance(told, dict) else None
    yield from (each for each in found if isinstance(each, dict)) if isinstance(found, list | tuple) else ()


def chosen_key(legs: Sequence[Leg], account: str, device: int | None, given: str | None) -> str:
    """The key that a decision is about: that of the device, or the one that was given. Both must be of one device.

    Raises OperatorError for a device or a key that the account has not, WorldError when the two do not belong together.
    """
    known = [each for leg in legs if leg.get("account") == account for each in _devices(leg) if each.get("key")]
    wanted = read_fingerprint(given)
    if given is not None and wanted is None:
        found = "that is not a fingerprint"
        raise OperatorError(Problem("not-a-fingerprint", account, found, "It has 64 hexadecimal digits."))
    meant = [each for each in known if device in (None, each.get("id"))]
    if not meant or (device is None and wanted not in [each["key"] for each in meant]):
        listed = ", ".join(str(each.get("id")) for each in known) or "none"
        raise OperatorError(Problem("unknown-device", account, "there is no such device", f"Known: {listed}."))
    if wanted is None:
        return str(meant[0]["key"])
    if not any(hmac.compare_digest(str(each["key"]), wanted) for each in meant):
        remedy = "Somebody may be posing as the user. Do not verify the device; ask them which devices they have."
        raise WorldError(Problem("different", account, "the device shows another key", remedy))
    return wanted


def show(legs: Sequence[Leg], styles: Mapping[str, str], rows: Any) -> None:
    """Two tables, where there is anything for them."""
    for title, columns, entries in (
        ("Users' OMEMO devices", USERS, users(legs)),
        ("Contacts' OMEMO devices", CONTACTS, contacts(legs)),
    ):
        if entries:
            output.line()
            output.line(title, "bold")
            output.table([name.upper() for name in columns], rows(entries, columns), styles)
