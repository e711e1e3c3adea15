"""What we offer, what we choose of an offer, and whether an answer keeps to what was offered (XEP-0155, 0116, 0217)."""

from dataclasses import dataclass

from crypto.errors import Misuse
from crypto.esession import names
from crypto.esession.forms import Form, FormKind, MalformedForm, write_answer, write_choice, write_field, write_form
from crypto.esession.forms import base64 as b64
from crypto.esession.refusals import NotSupported, Unacceptable
from crypto.primitives.modp import GROUPS
from crypto.xml import Element

DEFAULT_GROUPS = (14, 15, 16, 17, 18)
NONCE_MIN = 4
NONCE_MAX = 64
HASH = 32
_LOGGING = ("may", "mustnot")
_DISCLOSURE = ("never", "disabled", "enabled")
_OTR = {"may": "false", "mustnot": "true"}
_MEANINGS = {
    "logging": {"may": "may", "mustnot": "mustnot", "true": "may", "false": "mustnot"},
    "otr": {"false": "may", "true": "mustnot", "0": "may", "1": "mustnot"},
}
"""XEP-0155 and the deployed implementation, an example of XEP-0116, and XEP-0217 each spell it otherwise."""
_SIGNATURES = "http://www.w3.org/2000/09/xmldsig#rsa-sha256"


@dataclass(frozen=True, slots=True)
class Terms:
    """What may truthfully be agreed on this leg, in order of preference. The caller decides.

    `disclosure`: `never` only if the far leg is end-to-end encrypted and nothing is archived, else `enabled`.
    `logging`: `mustnot` only if nothing is kept; `may` allows the peer to keep a log.
    `groups`: of 5 and 14 to 18; 5 only if configured.
    """

    disclosure: tuple[str, ...] = ("never",)
    logging: tuple[str, ...] = _LOGGING
    groups: tuple[int, ...] = DEFAULT_GROUPS

    def __post_init__(self) -> None:
        sound = (
            self.groups and set(self.groups) <= GROUPS.keys() and len(set(self.groups)) == len(self.groups),
            self.logging and set(self.logging) <= set(_LOGGING),
            self.disclosure and set(self.disclosure) <= set(_DISCLOSURE),
        )
        if not all(sound):
            raise Misuse("terms name a group, or a value of logging or disclosure, that cannot be offered")


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was agreed beside the keys."""

    logging: str = "may"
    disclosure: str = "never"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a responder chose of a request."""

    group: int
    commitment: bytes
    """He of that group, 32 octets."""
    peer_nonce: bytes
    agreement: Agreement
    answers: tuple[Element, ...]
    """The fields of the answer, in the order of the request."""


# ---------------------------------------------------------------------------------------------------- the request
def write_request(terms: Terms, nonce: bytes, commitments: tuple[bytes, ...]) -> Element:
    """The initiator's request; `commitments` are the He of `terms.groups`, in that order."""
    fixed = [
        write_choice(var, kind, value) if kind.startswith("list") else write_field(var, kind, value)
        for var, kind, value in names.FIXED
    ]
    return write_form(
        FormKind.FORM,
        write_field("accept", "boolean", "1"),
        write_choice("logging", "list-single", *terms.logging),
        write_choice("otr", "list-single", *(_OTR[value] for value in terms.logging)),
        write_choice("disclosure", "list-single", *terms.disclosure),
        write_choice("security", "list-single", "e2e"),
        *fixed,
        write_field("rekey_freq", "hidden", str(names.REKEY_FREQUENCY)),
        write_field("my_nonce", "hidden", b64(nonce)),
        write_choice("modp", "list-single", *map(str, terms.groups)),
        write_field("dhhashes", "hidden", *map(b64, commitments)),
    )


# ---------------------------------------------------------------------------------------------------- the choice
def choose(request: Form, terms: Terms) -> Choice:
    """What to answer to a request.

    Raises NotSupported for the 3-message negotiation or a required field that is not known, Unacceptable naming
    every field of which no option can be accepted, MalformedForm.
    """
    if request.kind is not FormKind.FORM:
        raise MalformedForm
    _require_known(request)
    group, commitment = _choose_group(request, terms)
    agreement = _choose_agreement(request, terms)
    refused = [var for var, _, value in names.FIXED if value not in (request.offered(var) or (value,))]
    if "e2e" not in (request.offered("security") or ()):
        refused.append("security")
    frequency = _rekey_frequency(request)
    refused += [var for var, found in (("modp", group), ("rekey_freq", frequency)) if found is None]
    refused += [
        var for var, found in (("logging", agreement.logging), ("disclosure", agreement.disclosure)) if not found
    ]
    if refused or group is None or frequency is None:
        raise Unacceptable(*refused)
    nonce = request.octets("my_nonce", NONCE_MIN, NONCE_MAX)
    return Choice(group, commitment, nonce, agreement, _answers(request, agreement, frequency))


def _require_known(request: Form) -> None:
    if request.field("dhkeys") is not None and request.field("dhhashes") is None:
        raise NotSupported("dhkeys")
    unknown = tuple(f.var for f in request.fields if f.required and f.var not in names.KNOWN)
    if unknown:
        raise NotSupported(*unknown)


def _choose_group(request: Form, terms: Terms) -> tuple[int | None, bytes]:
    """The peer's first group that is ours too, with its commitment; requests are in order of preference."""
    commitments = request.octet_strings("dhhashes", HASH, HASH)
    groups = request.offered("modp")
    if groups is None or len(groups) != len(commitments) or len(set(groups)) != len(groups):
        raise MalformedForm("modp", "dhhashes")
    for group, commitment in zip(groups, commitments, strict=True):
        if group in map(str, terms.groups):
            return int(group), commitment
    return None, b""


def _choose_agreement(request: Form, terms: Terms) -> Agreement:
    """The peer's first acceptable value of `logging` or `otr`, our first of `disclosure`; empty where there is none."""
    asked = next((var for var in _MEANINGS if request.field(var) is not None), None)
    meanings = [_MEANINGS[asked].get(value, "") for value in request.offered(asked) or ()] if asked else terms.logging
    logging = next((value for value in meanings if value in terms.logging), "")
    open_to = request.offered("disclosure") or terms.disclosure
    return Agreement(logging, next((value for value in terms.disclosure if value in open_to), ""))


def _spelled(request: Form, agreement: Agreement) -> dict[str, str]:
    """The agreed `logging` in the fields and the spelling of the request."""
    found = {}
    for var, meanings in _MEANINGS.items():
        same = [value for value in request.offered(var) or () if meanings.get(value) == agreement.logging]
        if same:
            found[var] = same[0]
    return found


def _rekey_frequency(request: Form) -> int | None:
    """Ours is the largest there is: at least what the peer asks for, and so that it does not re-key."""
    wanted = request.value("rekey_freq")
    if wanted is None:
        return names.REKEY_FREQUENCY
    small = wanted.isascii() and wanted.isdigit() and len(wanted) <= 10
    return names.REKEY_FREQUENCY if small and 1 <= int(wanted) <= names.REKEY_FREQUENCY else None


def _answers(request: Form, agreement: Agreement, frequency: int) -> tuple[Element, ...]:
    values = {var: value for var, _, value in names.FIXED} | _spelled(request, agreement)
    values |= {"accept": "true", "disclosure": agreement.disclosure, "security": "e2e", "rekey_freq": str(frequency)}
    if _SIGNATURES in (request.offered("sign_algs") or ()):
        values["sign_algs"] = _SIGNATURES
    asked = [f.var for f in request.fields if f.var in values]
    asked += [var for var in ("accept", "disclosure") if var not in asked]
    return tuple(write_answer(var, values[var]) for var in asked)


# ---------------------------------------------------------------------------------------------------- the check
def require_acceptable(answer: Form, terms_offered: Form) -> Agreement:
    """What a responder's answer agrees to. `terms_offered` is our own request.

    Raises Unacceptable naming the fields whose value was not among those offered, MalformedForm for doubled values.
    """
    refused = [var for var, _, value in names.FIXED if answer.value(var) not in (None, value)]
    if answer.value("security") != "e2e":
        refused.append("security")
    if answer.value("rekey_freq") not in (None, str(names.REKEY_FREQUENCY)):
        refused.append("rekey_freq")
    for var in ("logging", "otr", "disclosure", "modp"):
        value = answer.value(var)
        if value is not None and value not in (terms_offered.offered(var) or ()):
            refused.append(var)
    if answer.value("modp") is None:
        refused.append("modp")
    said = [meanings[found] for var, meanings in _MEANINGS.items() if (found := answer.value(var)) in meanings]
    if len(set(said)) > 1:
        refused.append("otr")
    if refused:
        raise Unacceptable(*dict.fromkeys(refused))
    logging = said[0] if said else "may"
    return Agreement(logging, answer.value("disclosure") or (terms_offered.offered("disclosure") or ("",))[0])
