"""What a responder chooses of a request (XEP-0116, "ESession Rejection", "Response Form")."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from crypto.esession import names
from crypto.esession.choosing_keys import choose_keys
from crypto.esession.forms import Form, FormKind, MalformedForm, write_answer
from crypto.esession.key_values import SignAlgorithm
from crypto.esession.offering import OTR
from crypto.esession.policy import COMMITMENT, LARGEST, NONCE_MAX, NONCE_MIN, Agreement, Choice, Terms
from crypto.esession.refusals import NotSupported, Unacceptable
from crypto.esession.suite import Suite, kem
from crypto.xml import Element

MEANINGS = {
    "logging": {"may": "may", "mustnot": "mustnot", "true": "may", "false": "mustnot"},
    "otr": {meaning: value for value, meaning in OTR.items()} | {"0": "may", "1": "mustnot"},
}
"""XEP-0155 and the deployed implementation, an example of XEP-0116, and XEP-0217 each spell it otherwise."""


def choose(request: Form, terms: Terms) -> Choice:
    """What to answer to a request.

    Raises NotSupported for a 3-message negotiation that `terms` do not allow or a required field that is not known,
    Unacceptable naming every field of which no option can be accepted, MalformedForm.
    """
    if request.kind is not FormKind.FORM:
        raise MalformedForm
    three = _require_known(request, terms)
    group, commitment = _choose_group(request, terms, three_message=three)
    chosen = _choose_options(request, terms)
    keys = choose_keys(request, terms, three_message=three)
    mechanism, kem_key = _choose_kem(request, terms)
    logging, disclosure = _choose_agreement(request, terms)
    frequency_agreed = _rekey_frequency(request, terms)
    stanzas = tuple(s for s in terms.stanzas if s in (request.offered("stanzas") or ("message",)))
    found: dict[str, object] = chosen | {
        "stanzas": "message" in stanzas,
        "init_pubkey": keys.initiator,
        "resp_pubkey": keys.responder,
        "sign_algs": keys.signing or not keys.needs_signing,
        "security": "e2e" in (request.offered("security") or ()),
        "modp": group,
        "rekey_freq": frequency_agreed,
        "logging": logging,
        "disclosure": disclosure,
        names.KEM: mechanism or not terms.require_hybrid,
    }
    if group is None or frequency_agreed is None or not all(found.values()):
        raise Unacceptable(*dict.fromkeys(var for var in (*names.OPTIONS, *found) if not found[var]))
    suite = Suite(chosen["crypt_algs"], chosen["hash_algs"], str(group), mechanism)
    agreement = Agreement(logging, disclosure, suite, stanzas, frequency_agreed, chosen["ver"], chosen["sas_algs"])
    agreement = replace(
        agreement,
        initiator_key=keys.initiator,
        responder_key=keys.responder,
        signing=keys.signing,
        three_message=three,
    )
    nonce = request.octets("my_nonce", NONCE_MIN, NONCE_MAX)
    return Choice(group, commitment, nonce, agreement, _answers(request, agreement), kem_key)


def _require_known(request: Form, terms: Terms) -> bool:
    """Whether it is a 3-message negotiation. Raises NotSupported."""
    open_keys = any(request.field(var) is not None for var in ("dhkeys", names.GROUP_KEYS))
    three = open_keys and all(request.field(var) is None for var in ("dhhashes", names.GROUP_HASHES))
    if three and (not terms.three_message or not terms.identities or terms.password is not None):
        raise NotSupported("dhkeys")
    unknown = tuple(f.var for f in request.fields if f.required and f.var not in names.KNOWN)
    if unknown:
        raise NotSupported(*unknown)
    return three


# ---------------------------------------------------------------------------------------------------- groups
def _choose_group(request: Form, terms: Terms, *, three_message: bool) -> tuple[int | str | None, bytes]:
    """The peer's first group that is ours too, with He or e; requests are in order of preference.

    A group that is no MODP group comes first when it is the first of ours, else last.
    """
    numbers, others = _offered_groups(request, three_message=three_message)
    first = next(((int(g), v) for g, v in numbers if g in map(str, terms.groups)), None)
    curve = next(((g, v) for g, v in others if g in terms.groups), None)
    preferred = isinstance(terms.groups[0], str)
    return (curve if preferred else first) or first or curve or (None, b"")


def _offered_groups(request: Form, *, three_message: bool) -> tuple[list[tuple[str, bytes]], list[tuple[str, bytes]]]:
    least, most = (1, LARGEST) if three_message else (COMMITMENT, COMMITMENT)
    values, other_values = ("dhkeys", names.GROUP_KEYS) if three_message else ("dhhashes", names.GROUP_HASHES)
    others = _paired(request, names.GROUP, other_values, least, most) if request.field(names.GROUP) else []
    if others and request.field("modp") is None and request.field(values) is None:
        return [], others
    return _paired(request, "modp", values, least, most), others


def _paired(request: Form, options: str, values: str, least: int, most: int) -> list[tuple[str, bytes]]:
    """Options with the values that stand in the same order in another field. Raises MalformedForm."""
    octets = request.octet_strings(values, least, most)
    offered = request.offered(options)
    if offered is None or len(offered) != len(octets) or len(set(offered)) != len(offered):
        raise MalformedForm(options, values)
    return list(zip(offered, octets, strict=True))


def _choose_kem(request: Form, terms: Terms) -> tuple[str | None, bytes | None]:
    """The first of our key encapsulation mechanisms that is offered, with the initiator's public key."""
    if request.field(names.KEM) is None:
        return None, None
    offered = dict(_paired(request, names.KEM, names.KEM_KEYS, 1, LARGEST * 4))
    found = next((name for name in terms.kems if name in offered), None)
    if found is not None and len(offered[found]) != kem(found).public_octets:
        raise MalformedForm(names.KEM_KEYS)
    return found, offered[found] if found is not None else None


# ---------------------------------------------------------------------------------------------------- options
def _choose_options(request: Form, terms: Terms) -> dict[str, str]:
    """Of each field with one answer our first option that is offered, empty where there is none.

    A field that is not there stands for what every peer has.
    """
    ours: dict[str, tuple[Sequence[str], str]] = {
        "crypt_algs": (terms.ciphers, names.PLAIN_CIPHER),
        "hash_algs": (terms.hashes, names.PLAIN_HASH),
        "compress": (("none",), "none"),
        "ver": (terms.versions, names.VERSION),
        "sas_algs": (terms.sas_algs, names.SAS),
    }
    return {var: first_common(own, request.offered(var) or (usual,)) for var, (own, usual) in ours.items()}


def first_common(ours: Iterable[str], offered: Sequence[str]) -> str:
    """The first of ours that is offered; empty when there is none."""
    return next((option for option in ours if option in offered), "")


def _choose_agreement(request: Form, terms: Terms) -> tuple[str, str]:
    """The peer's first acceptable value of `logging` or `otr`, our first of `disclosure`; empty where there is none."""
    asked = next((var for var in MEANINGS if request.field(var) is not None), None)
    meanings = [MEANINGS[asked].get(value, "") for value in request.offered(asked) or ()] if asked else terms.logging
    open_to = request.offered("disclosure") or terms.disclosure
    return first_common(meanings, terms.logging), first_common(terms.disclosure, open_to)


def _rekey_frequency(request: Form, terms: Terms) -> int | None:
    """At least what either asks for. A peer that says nothing does not re-key."""
    wanted = request.value("rekey_freq")
    if wanted is None:
        return names.REKEY_FREQUENCY
    asked = frequency(wanted)
    return None if asked is None else max(asked, terms.rekey_freq)


def frequency(text: str) -> int | None:
    """A value of `rekey_freq`, None when it is none."""
    small = text.isascii() and text.isdigit() and len(text) <= 10
    return int(text) if small and 1 <= int(text) <= names.REKEY_FREQUENCY else None


# ---------------------------------------------------------------------------------------------------- the answer
def _spelled(request: Form, agreement: Agreement) -> dict[str, str]:
    """The agreed `logging` in the fields and the spelling of the request."""
    found = {}
    for var, meanings in MEANINGS.items():
        same = [value for value in request.offered(var) or () if meanings.get(value) == agreement.logging]
        if same:
            found[var] = same[0]
    return found


def _answers(request: Form, agreement: Agreement) -> tuple[Element, ...]:
    suite = agreement.suite
    values: dict[str, tuple[str, ...]] = {
        "crypt_algs": (suite.cipher,),
        "hash_algs": (suite.hash,),
        "compress": ("none",),
        "stanzas": agreement.stanzas,
        "init_pubkey": (agreement.initiator_key,),
        "resp_pubkey": (agreement.responder_key,),
        "ver": (agreement.version,),
        "accept": ("true",),
        "disclosure": (agreement.disclosure,),
        "security": ("e2e",),
        "rekey_freq": (str(agreement.rekey_freq),),
    }
    if not agreement.three_message:
        values["sas_algs"] = (agreement.sas,)
    values |= {var: (value,) for var, value in _spelled(request, agreement).items()}
    signing = agreement.signing or first_common([SignAlgorithm.RSA], request.offered("sign_algs") or ())
    if signing:
        values["sign_algs"] = (signing,)
    asked = [f.var for f in request.fields if f.var in values]
    asked += [var for var in ("accept", "disclosure") if var not in asked]
    return tuple(write_answer(var, *values[var]) for var in asked)
