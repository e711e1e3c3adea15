"""What the user orders in words, and what is answered. The text is hostile: whoever holds the session wrote it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from adapters.control import inside_codes as codes
from adapters.control import inside_words as words
from adapters.inside_api import ContactDevice, ContactPolicy, LegStatus, Shown, Steering, UserDevice
from bridge.wire.values import CONTROL
from crypto.message import Standing

LONGEST = 256
"""Characters of an order."""
_WAITING = "waiting"
"""It begins by itself once the contact's devices are known."""
SOON = frozenset({"devices-unknown", "identity-not-ready"})
_OVER = frozenset({"verified", "finished", "cancelled", "none"})


@dataclass(frozen=True, slots=True)
class Driven:
    """A verification that the user drives from here: what they were told last, and what they were shown."""

    state: str
    mark: str = ""


def understood(text: str) -> tuple[str, str]:
    """The word of an order and what follows it, both in lower case; empty for what is none."""
    asked = text.split(None, 2) if len(text) <= LONGEST else []
    if not asked:
        return "", ""
    return asked[0].lower().lstrip("/"), asked[1].lower() if len(asked) > 1 else ""


def answered(step: Steering, text: str, standing: Standing) -> str:
    """Carry an order out, and what is said about it. `standing`: not `PLAIN`."""
    word, about = understood(text)
    if word in _NEEDS_VERIFIED and standing is not Standing.VERIFIED:
        return words.UNVERIFIED
    act = _ORDERS.get(word)
    if act is None:
        return words.UNKNOWN
    said = act(step, _WHOLE[word].join(text.lower().split()[1:]) if word in _WHOLE else about)
    if standing is Standing.VERIFIED or word not in _TELLS_KEYS:
        return said
    return f"{said}\n{words.NOTE_UNVERIFIED}"


def moved(step: Steering, contact: ContactPolicy) -> str | None:
    """What the user is told about a verification that has come further; None: nothing, or they do not drive it."""
    driven = step.records.get(f"driven/{contact.id}", Driven)
    if driven is None:
        return None
    if driven.state == _WAITING:
        step.records.delete(f"driven/{contact.id}")
        return _begun(step, contact)
    _, shown = step.drive(contact, "show")
    if shown.state == driven.state:
        return None
    _keep(step, contact, shown)
    if shown.state == "comparing":
        return words.comparison(contact.id, shown)
    return words.standing(contact.id, shown) if shown.state in _TOLD else None


def found(step: Steering, name: str) -> ContactPolicy | None:
    """The contact of that name, address here, or address there."""
    others = [c for c in step.account.contacts if c.network != CONTROL]
    return next((c for c in others if name in (c.id, c.alias.lower(), c.address.lower())), None)


def legs(step: Steering) -> list[tuple[LegStatus, ContactPolicy]]:
    """The far legs, each with its contact."""
    pairs = ((leg, step.account.contact_by_id(leg.contact)) for leg in step.legs())
    return [(leg, contact) for leg, contact in pairs if contact is not None and leg.network == contact.network]


# ---------------------------------------------------------------- the orders
def _help(_step: Steering, _about: str) -> str:
    return words.HELP


def contacts(step: Steering, _about: str = "") -> str:
    """All contacts, one a line."""
    lines = [words.contact(leg, contact.address) for leg, contact in legs(step)]
    return "\n".join(lines) or words.NOBODY


def fingerprints(step: Steering, about: str) -> str:
    """The keys of the user's identity and of the contact's."""
    contact = found(step, about)
    leg = next((leg for leg, c in legs(step) if contact is not None and c.id == contact.id), None)
    if contact is None or leg is None:
        return words.NOT_FOUND if about else words.NO_NAME
    near = contact_device(step, contact)
    told = [words.keys(contact.id, leg, step.own_identities())] if leg.identity is not None or near is None else []
    told += [words.contact_device(contact.id, contact.alias, near)] if near is not None else []
    return "\n".join(told)


def contact_device(step: Steering, contact: ContactPolicy) -> ContactDevice | None:
    """The device that stands for a contact at the user's end."""
    return next((each.device for each in step.legs() if each.contact == contact.id and each.device is not None), None)


def _code(step: Steering, about: str) -> str:
    """A picture of a contact's code, on its way by itself."""
    name, _, form = about.partition(" ")
    contact = found(step, name)
    if contact is None:
        return words.NOT_FOUND if name else words.NO_NAME
    device = contact_device(step, contact)
    if device is None:
        return words.NO_CODE.format(name=contact.id)
    addresses = words.addresses(contact.alias, device)
    uri = addresses.get(form.strip(), addresses[""])
    codes.send(step, contact.id, uri)
    return words.CODE.format(name=contact.id, uri=uri)


def user_devices(step: Steering) -> list[UserDevice]:
    """The user's own devices."""
    return [device for leg in step.legs() if leg.device is not None for device in leg.device.devices]


def devices(step: Steering, _about: str = "") -> str:
    """The same in words, with what is believed of them."""
    return "\n".join(map(words.device, user_devices(step))) or words.NO_DEVICES


def _trust(step: Steering, key: str) -> str:
    return words.key_decided(step.trust_key("verify", key)) if key else words.NO_FINGERPRINT


def _distrust(step: Steering, key: str) -> str:
    return words.key_decided(step.trust_key("distrust", key)) if key else words.NO_FINGERPRINT


def _verify(step: Steering, about: str) -> str:
    contact = found(step, about)
    if contact is None:
        return words.NOT_FOUND if about else words.NO_NAME
    return _begun(step, contact)


def _begun(step: Steering, contact: ContactPolicy) -> str:
    """Begin, or join."""
    code, shown = step.drive(contact, "begin")
    if code in SOON:
        step.records.put(f"driven/{contact.id}", Driven(_WAITING))
    if code not in ("ok", "under-way"):
        return words.begun(contact.id, code)
    _keep(step, contact, shown)
    if shown.state == "comparing":
        return words.comparison(contact.id, shown)
    return words.begun(contact.id, code) if shown.state == "requested" else words.standing(contact.id, shown)


def _match(step: Steering, about: str) -> str:
    return _decided(step, "match", about)


def _differ(step: Steering, about: str) -> str:
    return _decided(step, "differ", about)


def _decided(step: Steering, decision: str, number: str) -> str:
    """The number says what was compared: it stands below what this half showed, and nowhere else."""
    if not number:
        return words.NO_NUMBER
    meant = [(c, d) for c, d in _driven(step) if d.mark and d.mark.split(" ", 1)[0] == number]
    if len(meant) != 1:
        return words.NOTHING_SHOWN
    contact, driven = meant[0]
    code, shown = step.drive(contact, decision, driven.mark)
    if code != "ok":
        return words.decided(contact.id, code)
    _keep(step, contact, shown)
    return words.standing(contact.id, shown)


def _cancel(step: Steering, about: str) -> str:
    contact = found(step, about)
    if contact is None:
        return words.NOT_FOUND if about else words.NO_NAME
    step.records.delete(f"driven/{contact.id}")
    code, shown = step.drive(contact, "cancel")
    return words.standing(contact.id, shown) if code == "ok" else words.decided(contact.id, code)


def _driven(step: Steering) -> list[tuple[ContactPolicy, Driven]]:
    pairs = ((c, step.records.get(f"driven/{c.id}", Driven)) for c in step.account.contacts)
    return [(contact, driven) for contact, driven in pairs if driven is not None]


def _keep(step: Steering, contact: ContactPolicy, shown: Shown) -> None:
    if shown.state in _OVER:
        step.records.delete(f"driven/{contact.id}")
    else:
        step.records.put(f"driven/{contact.id}", Driven(shown.state, shown.mark))


_ORDERS: Mapping[str, Callable[[Steering, str], str]] = {
    "help": _help,
    "contacts": contacts,
    "status": contacts,
    "fingerprints": fingerprints,
    "verify": _verify,
    "match": _match,
    "differ": _differ,
    "cancel": _cancel,
    "code": _code,
    "devices": devices,
    "trust": _trust,
    "distrust": _distrust,
}
_NEEDS_VERIFIED = frozenset({"verify", "match", "differ", "cancel", "trust", "distrust"})
_TELLS_KEYS = frozenset({"contacts", "status", "fingerprints", "code", "devices"})
_WHOLE = {"trust": "", "distrust": "", "code": " "}
"""Orders about everything that follows the word, and what is between its parts then."""
_TOLD = frozenset({"verified", "cancelled"})
