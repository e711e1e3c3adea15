"""Whether a responder's answer keeps to what we offered (XEP-0116, "Diffie-Hellman Preparation (Alice)")."""

from crypto.esession import names
from crypto.esession.choosing import MEANINGS, frequency
from crypto.esession.forms import Form
from crypto.esession.key_values import SignAlgorithm
from crypto.esession.policy import Agreement, Terms
from crypto.esession.refusals import Unacceptable
from crypto.esession.suite import Suite

_USUAL = {
    "crypt_algs": names.PLAIN_CIPHER,
    "hash_algs": names.PLAIN_HASH,
    "compress": "none",
    "init_pubkey": "none",
    "resp_pubkey": "none",
    "ver": names.VERSION,
    "sas_algs": names.SAS,
}
"""What an answer means that does not have the field."""
_METHODS = {"init_pubkey", "resp_pubkey"}


def require_acceptable(
    answer: Form, offered: Form, terms: Terms | None = None, *, three_message: bool = False
) -> Agreement:
    """What a responder's answer agrees to. `offered` is our own request, `terms` what we made it of.

    Raises Unacceptable naming the fields whose value was not among those offered, MalformedForm for doubled values.
    """
    values = {var: answer.value(var) or usual for var, usual in _USUAL.items()}
    if three_message:
        values["sas_algs"] = names.SAS
    group, frequency_agreed = _group(answer, offered), _frequency(answer.value("rekey_freq"), offered)
    signing = _signing(answer, offered, values)
    refused = _refused(answer, offered, values, terms)
    refused += ["rekey_freq"] if frequency_agreed is None else []
    refused += ["modp"] if group is None else []
    refused += ["sign_algs"] if _lacks_signature(values, signing, terms) and not _METHODS & {*refused} else []
    if refused or group is None or frequency_agreed is None:
        raise Unacceptable(*_ordered(refused))
    said = _logging(answer)
    return Agreement(
        logging=said[0] if said else "may",
        disclosure=answer.value("disclosure") or (offered.offered("disclosure") or ("",))[0],
        suite=Suite(values["crypt_algs"], values["hash_algs"], group, answer.value(names.KEM)),
        stanzas=tuple(dict.fromkeys(_values(answer, "stanzas"))) or ("message",),
        rekey_freq=frequency_agreed,
        version=values["ver"],
        sas=values["sas_algs"],
        initiator_key=values["init_pubkey"],
        responder_key=values["resp_pubkey"],
        signing=signing,
        three_message=three_message,
    )


def _refused(answer: Form, offered: Form, values: dict[str, str], terms: Terms | None) -> list[str]:
    """The fields whose values were not offered, or contradict each other."""
    refused = [var for var, value in values.items() if value not in (offered.offered(var) or (_USUAL[var],))]
    stanzas = _values(answer, "stanzas") or ("message",)
    possible = {*(offered.offered("stanzas") or ("message",))}
    refused += ["stanzas"] if "message" not in stanzas or not possible.issuperset(stanzas) else []
    refused += ["security"] if answer.value("security") != "e2e" else []
    for var in ("logging", "otr", "disclosure", "modp", names.GROUP, names.KEM):
        value = answer.value(var)
        refused += [var] if value is not None and value not in (offered.offered(var) or ()) else []
    refused += ["otr"] if len(set(_logging(answer))) > 1 else []
    lacking = terms is not None and terms.require_hybrid and answer.value(names.KEM) is None
    return [*refused, names.KEM] if lacking else refused


def _logging(answer: Form) -> list[str]:
    """What the answer says about logs, in each field in which it does."""
    return [meanings[found] for var, meanings in MEANINGS.items() if (found := answer.value(var)) in meanings]


def _lacks_signature(values: dict[str, str], signing: SignAlgorithm | None, terms: Terms | None) -> bool:
    """Whether there are public keys without an algorithm, or with one that we would not verify."""
    if {values["init_pubkey"], values["resp_pubkey"]} == {"none"}:
        return False
    unverified = values["resp_pubkey"] != "none" and terms is not None and signing not in terms.sign_algs
    return signing is None or unverified


def _ordered(refused: list[str]) -> tuple[str, ...]:
    """Each once: the fields of options in their order, then the others in theirs."""
    return tuple(dict.fromkeys([var for var in names.OPTIONS if var in refused] + refused))


def _values(form: Form, var: str) -> tuple[str, ...]:
    field = form.field(var)
    return () if field is None else field.values


def _group(answer: Form, offered: Form) -> str | None:
    """The one group that was chosen: in `modp`, or in the field of the others."""
    found = [value for var in ("modp", names.GROUP) if (value := answer.value(var)) is not None]
    known = (*(offered.offered("modp") or ()), *(offered.offered(names.GROUP) or ()))
    return found[0] if len(found) == 1 and found[0] in known else None


def _frequency(answered: str | None, offered: Form) -> int | None:
    """No less than we asked for, and below 2^32; an answer without the field does not re-key."""
    asked = offered.value("rekey_freq")
    least = None if asked is None else frequency(asked)
    if answered is None or least is None:
        return names.REKEY_FREQUENCY
    found = frequency(answered)
    return found if found is not None and found >= least else None


def _signing(answer: Form, offered: Form, values: dict[str, str]) -> SignAlgorithm | None:
    """The signature algorithm where there are public keys: one of those offered; the only one may go unsaid."""
    options = offered.offered("sign_algs") or ()
    named = answer.value("sign_algs") or (options[0] if len(options) == 1 else None)
    keyed = {values["init_pubkey"], values["resp_pubkey"]} != {"none"}
    return SignAlgorithm(named) if keyed and named in options else None
