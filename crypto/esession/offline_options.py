"""Offline options (XEP-0187, "Publishing Offline ESession Options"): what the publisher signs, and what is read of it.

The publisher has the initiator's part: its options are a 3-message request without `accept` and without key fields,
signed and with a time at which they expire. Times are milliseconds since 1970.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from crypto.errors import Misuse
from crypto.esession import names
from crypto.esession.forms import (
    MAX_FORM,
    Form,
    FormKind,
    MalformedForm,
    decoded,
    read_form,
    write_choice,
    write_field,
    write_form,
)
from crypto.esession.forms import base64 as b64
from crypto.esession.key_values import SignAlgorithm
from crypto.esession.offline_refusals import OfflineFlaw, OfflineRefusal
from crypto.esession.offline_time import read_time
from crypto.esession.suite import CIPHERS, GROUPS, HASHES, KEMS
from crypto.xml import Element, serialize

JID = "{urn:lockgate:esession:0}jid"
"""In options: the publisher's bare JID, signed with the rest, so that they cannot be served as another's."""
OPTIONS = "{urn:lockgate:esession:0}options"
"""In an answer: the digest of the options it answers, so that it fits no copy of them that somebody else signed."""
EXPIRES = "expires"
MATCH_RESOURCE = "match_resource"
SIGNATURES = "signs"

NONCE_LEAST, NONCE_MOST = 4, 64
PUBLIC_MOST = 1025
SIGNATURES_MOST = 4
SIGNATURE_MOST = 1025
RESOURCE_MOST = 1023
_KNOWN = names.KNOWN | {EXPIRES, MATCH_RESOURCE, SIGNATURES, JID}
_MESSAGE = "message"


class Audience(StrEnum):
    """Whom a set of options is for, which decides when it is withdrawn."""

    SUBSCRIBERS = "subscribers"
    """Only who sees the publisher's presence; only while the publisher is offline."""
    EVERYONE = "everyone"
    """Who may write at all; until it is replaced or expires."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What one end is willing to use, the preferred first. Serves publisher and sender alike.

    `disclosure` and `logging` must be true of this end (see `crypto.esession.terms.Terms`).
    """

    ciphers: tuple[str, ...] = ("aes256-ctr", "aes128-ctr")
    hashes: tuple[str, ...] = ("sha512", "sha256")
    groups: tuple[str, ...] = ("x25519", "15", "14")
    kems: tuple[str, ...] = ("ml-kem-768",)
    disclosure: tuple[str, ...] = ("never",)
    logging: tuple[str, ...] = ("may", "mustnot")
    signatures: tuple[str, ...] = (SignAlgorithm.RSA.value, SignAlgorithm.ED25519.value)
    """Algorithms of the other end's signatures that are accepted."""
    stanzas: tuple[str, ...] = (_MESSAGE,)
    require_hybrid: bool = False
    """Nothing is sealed, and nothing taken, without one of `kems`."""

    def __post_init__(self) -> None:
        kinds: tuple[tuple[tuple[str, ...], Iterable[str]], ...] = (
            (self.ciphers, CIPHERS),
            (self.hashes, HASHES),
            (self.groups, GROUPS),
            (self.kems, KEMS),
            (self.stanzas, (_MESSAGE, "presence")),
        )
        known = all(set(named) <= set(registry) for named, registry in kinds)
        full = all((self.ciphers, self.hashes, self.groups, self.disclosure, self.logging, self.stanzas))
        if not known or not full or not self.signatures or (self.require_hybrid and not self.kems):
            raise Misuse("an offer names nothing, or what cannot be offered offline")


@dataclass(frozen=True, slots=True)
class Options:
    """Options as they were read. Nothing is proved of them before `require_signed`."""

    form: Element
    """The `<x/>`."""
    nonce: bytes
    """N_A: the ESession ID of the publisher, which names the set."""
    groups: tuple[tuple[str, bytes], ...]
    """Groups and the publisher's public value e in each, in order of preference; those beyond the XEP before all."""
    kems: tuple[tuple[str, bytes], ...]
    """Key encapsulations with the publisher's public key."""
    choices: Mapping[str, tuple[str, ...]]
    """What else is to be chosen from, by field."""
    rekey_frequency: int
    expires_ms: int
    resource: str | None
    """`match_resource`: the one resource that can decrypt."""
    publisher: str | None
    """The bare JID that the options say they are of."""
    signatures: tuple[bytes, ...]


CHOICES = ("disclosure", "security", "crypt_algs", "hash_algs", "sign_algs", "compress", "stanzas", "ver")
"""Fields of plain options that must be there. Their order is that of the XEP's example."""


# ---------------------------------------------------------------------------------------------------- writing
@dataclass(frozen=True, slots=True)
class Values:
    """What a set of options holds beside the choices."""

    nonce: bytes
    publics: tuple[tuple[str, bytes], ...]
    kem_keys: tuple[tuple[str, bytes], ...]
    expires: str
    resource: str | None = None
    publisher: str | None = None


def write_options(offer: Offer, values: Values) -> Element:
    """The options, not signed yet."""
    modp = [(group, public) for group, public in values.publics if group.isdigit()]
    others = [(group, public) for group, public in values.publics if not group.isdigit()]
    stanzas = (_MESSAGE,) if values.resource is not None else offer.stanzas
    fields = [
        write_choice("logging", "list-single", *offer.logging),
        write_choice("disclosure", "list-single", *offer.disclosure),
        write_choice("security", "list-single", "e2e"),
        *([write_choice("modp", "list-single", *(group for group, _ in modp))] if modp else []),
        write_choice("crypt_algs", "list-single", *offer.ciphers),
        write_choice("hash_algs", "list-single", *offer.hashes),
        write_choice("sign_algs", "list-single", *offer.signatures),
        write_choice("compress", "list-single", "none"),
        write_choice("stanzas", "list-multi", *stanzas),
        write_choice("ver", "list-single", *names.VERSIONS),
        write_field("rekey_freq", "text-single", str(names.REKEY_FREQUENCY)),
        *_pairs(names.GROUP, names.GROUP_KEYS, others),
        *_pairs(names.KEM, names.KEM_KEYS, list(values.kem_keys)),
        write_field(EXPIRES, "hidden", values.expires),
        write_field("my_nonce", "hidden", b64(values.nonce)),
        *([write_field("dhkeys", "hidden", *(b64(public) for _, public in modp))] if modp else []),
        *([write_field(MATCH_RESOURCE, "text-single", values.resource)] if values.resource is not None else []),
        *([write_field(JID, "hidden", values.publisher)] if values.publisher is not None else []),
    ]
    return write_form(FormKind.FORM, *fields)


def _pairs(named: str, keys: str, pairs: list[tuple[str, bytes]]) -> list[Element]:
    if not pairs:
        return []
    values = (b64(value) for _, value in pairs)
    return [write_choice(named, "list-single", *(name for name, _ in pairs)), write_field(keys, "hidden", *values)]


# ---------------------------------------------------------------------------------------------------- reading
def read_options(x: Element) -> Options:
    """The options in an `<x/>` element. Raises OfflineRefusal (MALFORMED). Nothing is decided yet."""
    try:
        found = _options(x, read_form(x))
    except MalformedForm:
        found = None
    if found is None:
        raise OfflineRefusal(OfflineFlaw.MALFORMED)
    return found


def _options(x: Element, form: Form) -> Options | None:
    unknown = any(f.required and f.var not in _KNOWN for f in form.fields)
    forbidden = any(form.field(var) is not None for var in ("accept", "dhhashes", "sas_algs"))
    choices: dict[str, tuple[str, ...]] = {var: form.offered(var) or () for var in CHOICES}
    groups = _values_of(form, names.GROUP, names.GROUP_KEYS) + _values_of(form, "modp", "dhkeys")
    resource, stanzas = form.value(MATCH_RESOURCE), choices["stanzas"]
    # XEP-0187: never `iq`; with a resource, messages only.
    wrong_stanzas = "iq" in stanzas or (resource is not None and set(stanzas) != {_MESSAGE})
    if form.kind is not FormKind.FORM or unknown or forbidden or wrong_stanzas or not groups:
        return None
    if not all(choices.values()) or len(serialize(x)) > MAX_FORM:
        return None
    if resource is not None and not 0 < len(resource) <= RESOURCE_MOST:
        return None
    choices["logging"] = form.offered("logging") or ()
    return Options(
        form=x,
        nonce=form.octets("my_nonce", NONCE_LEAST, NONCE_MOST),
        groups=groups,
        kems=_values_of(form, names.KEM, names.KEM_KEYS, most=4096),
        choices=choices,
        rekey_frequency=frequency(form),
        expires_ms=read_time(form.value(EXPIRES) or ""),
        resource=resource,
        publisher=form.value(JID),
        signatures=_signatures(form),
    )


def _values_of(form: Form, named: str, keys: str, most: int = PUBLIC_MOST) -> tuple[tuple[str, bytes], ...]:
    """Options of one field with the values of another, in the same order; none when neither is there."""
    offered = form.offered(named) or ()
    values = form.octet_strings(keys, 1, most) if form.field(keys) is not None else ()
    if len(offered) != len(values) or len(set(offered)) != len(offered):
        raise MalformedForm(named, keys)
    return tuple(zip(offered, values, strict=True))


def frequency(form: Form) -> int:
    """`rekey_freq`: 1 to 2^32 - 1. Raises MalformedForm."""
    text = form.value("rekey_freq") or ""
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0
    if not 1 <= number <= names.REKEY_FREQUENCY:
        raise MalformedForm("rekey_freq")
    return number


def _signatures(form: Form) -> tuple[bytes, ...]:
    found = form.field(SIGNATURES)
    values = () if found is None else found.values
    if not 1 <= len(values) <= SIGNATURES_MOST:
        raise MalformedForm(SIGNATURES)
    return tuple(decoded(SIGNATURES, value, 1, SIGNATURE_MOST) for value in values)


# ---------------------------------------------------------------------------------------------------- a set of ours
@dataclass(frozen=True, slots=True)
class OfflineSecret:
    """x of one group. Its own type: nothing of the online negotiation takes it."""

    group: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OptionSet:
    """What the publisher keeps of a set it published. Destroy it and its stanzas stay closed for ever."""

    form: bytes
    """The `<x/>` as published, serialised."""
    nonce: bytes
    audience: Audience
    secrets: tuple[OfflineSecret, ...] = field(repr=False)
    kem_secrets: tuple[OfflineSecret, ...] = field(repr=False)
    published_ms: int
    expires_ms: int
    resource: str | None = None
    used: bytes = field(default=b"", repr=False)
    """Marks, 16 octets each, of every d and N_B accepted."""
