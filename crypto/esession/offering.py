"""The initiator's request (XEP-0116, "ESession Request"; XEP-0155, XEP-0217).

The first option of each list is what the deployed implementation knows, which takes the first of some lists and must
find its own in the others; extensions have fields of their own. Forms hold nothing that has several normal forms.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from crypto.esession import names
from crypto.esession.forms import FormKind, write_choice, write_field, write_form
from crypto.esession.forms import base64 as b64
from crypto.esession.key_values import SignAlgorithm
from crypto.esession.policy import Terms
from crypto.xml import Element

OTR = {"may": "false", "mustnot": "true"}


@dataclass(frozen=True, slots=True)
class Values:
    """The initiator's values in a request."""

    nonce: bytes
    groups: tuple[tuple[int | str, bytes], ...]
    """Each group with He, or with e in a 3-message negotiation."""
    kems: tuple[tuple[str, bytes], ...] = ()
    """Each key encapsulation mechanism with a public key."""
    three_message: bool = False


def write_request(terms: Terms, values: Values) -> Element:
    """The request as an `<x/>` element."""
    three = values.three_message
    modp = [(str(group), value) for group, value in values.groups if isinstance(group, int)]
    others = [(group, value) for group, value in values.groups if isinstance(group, str)]
    hashes, group_hashes = ("dhkeys", names.GROUP_KEYS) if three else ("dhhashes", names.GROUP_HASHES)
    return write_form(
        FormKind.FORM,
        write_field("accept", "boolean", "1"),
        write_choice("logging", "list-single", *terms.logging),
        write_choice("otr", "list-single", *(OTR[value] for value in terms.logging)),
        write_choice("disclosure", "list-single", *terms.disclosure),
        write_choice("security", "list-single", "e2e"),
        *_options(terms, three_message=three),
        write_field("rekey_freq", "hidden", str(terms.rekey_freq)),
        *_signatures(terms),
        write_field("my_nonce", "hidden", b64(values.nonce)),
        *_with_values("modp", hashes, modp),
        *_with_values(names.GROUP, group_hashes, others),
        *_with_values(names.KEM, names.KEM_KEYS, values.kems),
    )


def _options(terms: Terms, *, three_message: bool) -> list[Element]:
    offered: dict[str, tuple[str, ...]] = {
        "crypt_algs": _first(names.PLAIN_CIPHER, terms.ciphers),
        "hash_algs": _first(names.PLAIN_HASH, terms.hashes),
        "compress": ("none",),
        "stanzas": _first("message", terms.stanzas),
        "init_pubkey": methods(terms.identifying, three_message=three_message),
        "resp_pubkey": methods(acceptable_methods(terms), three_message=three_message),
        "ver": terms.versions,
    }
    if not three_message:
        offered["sas_algs"] = _first(names.SAS, terms.sas_algs)
    return [_listed(var, offered[var]) for var in names.OPTIONS if var in offered]


def methods(wanted: Sequence[str], *, three_message: bool) -> tuple[str, ...]:
    """The methods of identification to offer: never `none` with 3 messages, else `none` first."""
    if three_message:
        return tuple(method for method in wanted if method != "none")
    return _first("none", tuple(wanted))


def acceptable_methods(terms: Terms) -> tuple[str, ...]:
    """How the peer may identify itself: by a fingerprint only if we hold a key of its."""
    return tuple(method for method in terms.peer_keys if method != "hash" or terms.known_keys)


def _signatures(terms: Terms) -> list[Element]:
    """Both ends sign with the same algorithm: whoever may have to sign offers what it can sign with."""
    signing = any(method != "none" for method in terms.identifying)
    verifying = any(method != "none" for method in acceptable_methods(terms))
    if not signing and not verifying:
        return []
    able = tuple(dict.fromkeys(identity.public.algorithm for identity in terms.identities))
    both = tuple(name for name in terms.sign_algs if name in able)
    offered: tuple[str, ...] = terms.sign_algs
    if signing:
        offered = (both or able) if verifying else able
    return [_listed("sign_algs", _first(SignAlgorithm.RSA, offered))]


def _listed(var: str, options: tuple[str, ...]) -> Element:
    if len(options) == 1 and var != "stanzas":
        return write_field(var, "hidden", options[0])
    return write_choice(var, "list-multi" if var == "stanzas" else "list-single", *options)


def _first(option: str, options: tuple[str, ...]) -> tuple[str, ...]:
    return (option, *(o for o in options if o != option)) if option in options else options


def _with_values(options: str, values: str, offered: Sequence[tuple[str, bytes]]) -> list[Element]:
    if not offered:
        return []
    return [
        write_choice(options, "list-single", *(name for name, _ in offered)),
        write_field(values, "hidden", *(b64(value) for _, value in offered)),
    ]
