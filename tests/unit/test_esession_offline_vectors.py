"""Offline ESessions against vectors that an independent script derived from the text of XEP-0187."""

import json
from typing import Any

import pytest

from crypto.esession.identities import Identity, PublicIdentity, new_ed25519, read
from crypto.esession.key_values import SignAlgorithm
from crypto.esession.normal_form import CANONICAL, CLOSING_FIELDS, normal_form
from crypto.esession.offline_accepting import introduced, taken
from crypto.esession.offline_content import created_ms, opened, sealed
from crypto.esession.offline_keys import options_digest
from crypto.esession.offline_options import (
    SIGNATURES,
    Audience,
    Offer,
    OfflineSecret,
    OptionSet,
    read_options,
)
from crypto.esession.offline_publishing import LIFETIME_MS, Lifetime, Shelf, publish
from crypto.esession.offline_sending import begin, choose, require_current, require_signed
from crypto.esession.offline_time import read_time
from crypto.esession.suite import exchange
from crypto.xml import Element, parse, serialize
from tests.vectors.derive_esession_offline import ALL, FOLDER, text

NAMES = [of.name for of in ALL]
vectors = pytest.mark.parametrize("name", NAMES)
OWN = [of.name for of in ALL if of.style == "own" and not of.hybrid]
"""Without a key encapsulation, whose randomness no argument names, every octet can be compared."""


def vector(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return found


def octets(data: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(data["draws"].get(name) or data["values"][name])


def identity(data: dict[str, Any], who: str) -> Identity:
    key = data["keys"][who]
    secret = bytes.fromhex(key["secret"])
    if key["algorithm"] == SignAlgorithm.ED25519.value:
        return new_ed25519(secret)
    return Identity(public(data, who), secret)


def public(data: dict[str, Any], who: str) -> PublicIdentity:
    return read(data["keys"][who]["key_value"].encode())


def shelf(data: dict[str, Any]) -> Shelf:
    """The set as its publisher keeps it."""
    kems = (OfflineSecret("ml-kem-768", octets(data, "kem")),) if data["kem"] else ()
    kept = OptionSet(
        form=serialize(parse(data["forms"]["options"].encode())),
        nonce=octets(data, "n_a"),
        audience=Audience.EVERYONE,
        secrets=(OfflineSecret(data["group"], exchange(data["group"]).secret(octets(data, "x"))),),
        kem_secrets=kems,
        published_ms=data["now_ms"],
        expires_ms=read_time(data["expires"]),
        resource=data["resource"],
    )
    return Shelf((kept,))


def stanza(data: dict[str, Any]) -> Element:
    init = f"<init xmlns='http://www.xmpp.org/extensions/xep-0116.html#ns-init'>{data['forms']['answer']}</init>"
    return parse(f"<message xmlns='jabber:client'>{init}{data['stanzas'][0]['c']}</message>".encode())


@vectors
def test_the_files_are_what_the_script_derives(name: str) -> None:
    of = next(o for o in ALL if o.name == name)
    assert (FOLDER / f"{name}.json").read_text("utf-8") == text(of)


@vectors
def test_the_options_are_read_and_their_signature_is_right(name: str) -> None:
    data = vector(name)
    options = read_options(parse(data["forms"]["options"].encode()))
    require_current(options, now_ms=data["now_ms"], publisher=data["publisher"])
    assert require_signed(options, (public(data, "publisher"),)) == public(data, "publisher")
    assert normal_form(options.form, CANONICAL, without={SIGNATURES}).decode() == data["values"]["form_a"]
    assert dict(options.groups)[data["group"]] == octets(data, "e")
    assert options.resource == data["resource"]
    suite = choose(options, offer(data), public(data, "sender")).suite
    assert (suite.cipher, suite.hash, suite.group, suite.kem) == tuple(
        data[what] for what in ("cipher", "hash", "group", "kem")
    )
    assert options_digest(suite, options.form) == octets(data, "digest")


@vectors
def test_the_publisher_opens_what_was_sealed(name: str) -> None:
    data = vector(name)
    kept, arrived = shelf(data), stanza(data)
    x = arrived.elements[0].elements[0]
    introduction = introduced(x, kept, now_ms=data["now_ms"], resource=data["resource"] or "any")
    assert introduction.identity == public(data, "sender")
    assert introduction.way.keys.cipher == octets(data, "kc_b")
    assert introduction.way.keys.mac == octets(data, "km_b")
    assert introduction.way.counter.hex() == data["stanzas"][0]["before"]
    assert normal_form(x, CANONICAL, without=CLOSING_FIELDS).decode() == data["values"]["form_b"]
    found = taken(introduction, kept, arrived, now_ms=data["now_ms"])
    assert found.content[0].text == "Hello, Alice! ¡שלום!"
    assert created_ms(found.content) == data["now_ms"]
    assert (found.way is None) == data["once"]
    way = found.way
    for further in data["stanzas"][1:]:
        assert way is not None
        assert way.counter.hex() == further["before"]
        way, content = opened(way, parse(further["c"].encode()), now_ms=data["now_ms"])
        assert serialize(content[0], inherited="jabber:client").decode() == further["content"]


def offer(data: dict[str, Any]) -> Offer:
    kems = (data["kem"],) if data["kem"] else ()
    return Offer(ciphers=(data["cipher"],), hashes=(data["hash"],), groups=(data["group"],), kems=kems)


def drawing(data: dict[str, Any], **names: str) -> Any:
    return lambda name, _size: octets(data, names[name.replace("-", "_")])


@pytest.mark.parametrize("name", [*OWN, "hybrid"])
def test_the_same_draws_make_the_same_options(name: str) -> None:
    data = vector(name)
    draw = drawing(data, offline_nonce="n_a", offline_secret="x", offline_kem="kem")
    kept, form = publish(
        offer(data),
        (identity(data, "publisher"),),
        Lifetime(data["now_ms"], data["now_ms"] + LIFETIME_MS),
        draw,
        resource=data["resource"],
        publisher=data["publisher"],
    )
    assert parse(serialize(form)) == parse(data["forms"]["options"].encode())
    assert kept == shelf(data).sets[0]


@pytest.mark.parametrize("name", OWN)
def test_the_same_draws_make_the_same_stanzas(name: str) -> None:
    data = vector(name)
    options = read_options(parse(data["forms"]["options"].encode()))
    draw = drawing(data, offline_exponent="y", offline_nonce="n_b", offline_counter="counter")
    chosen = choose(options, offer(data), public(data, "sender"))
    content = "<body>Hello, Alice! ¡שלום!</body>".encode()
    begun = begin(options, chosen, identity(data, "sender"), content, draw, now_ms=data["now_ms"], once=data["once"])
    assert parse(begun.init).elements[0] == parse(data["forms"]["answer"].encode())
    assert parse(begun.content) == parse(data["stanzas"][0]["c"].encode())
    way = begun.way
    for further in data["stanzas"][1:]:
        assert way is not None
        way, c = sealed(way, further["content"].encode())
        assert parse(c) == parse(further["c"].encode())
