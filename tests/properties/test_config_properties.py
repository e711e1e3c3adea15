"""Properties of the configuration's parsers, over everything hypothesis can think of."""

import json
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from slixmpp.jid import JID, InvalidJID

from bridge.config.document import read_document, resolved
from bridge.config.jid import NotAnAddress, bare_jid
from bridge.config.load import load_config
from bridge.config.mxid import user_id
from bridge.errors import ConfigError
from bridge.probe.stream import NotXmpp, StreamReader
from tests.fuzz import fuzz_component_stream, fuzz_config
from tests.unit.config_site import RIGHT, Site

PARTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
HOSTS = st.one_of(
    st.from_regex(r"[a-zA-Z0-9-]{1,8}(\.[a-zA-Z0-9-]{1,8}){0,2}", fullmatch=True),
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8),
    st.sampled_from(["example.org", "xn--exmple-cua.org", "127.0.0.1", "[::1]", "faß.de", "a..b", "例え.jp"]),
)


@given(PARTS, HOSTS)
@example("ß", "example.org")
@example("ﬁ", "example.org")
@example("a", "faß.de")
@example("a", "example.org.")
@example("٣a", "example.org")
@example("İ", "example.org")
def test_an_accepted_jid_is_what_the_xmpp_library_makes_of_it(local: str, host: str) -> None:
    try:
        normal = bare_jid(f"{local}@{host}")
    except NotAnAddress:
        return
    assert str(JID(normal)) == normal
    assert bare_jid(normal) == normal


@given(st.text(string.ascii_letters + string.digits + "._-+=!#$%*()~", min_size=1, max_size=20))
def test_every_usual_jid_is_accepted(local: str) -> None:
    assert bare_jid(f"{local}@Example.org") == f"{local.lower()}@example.org"


@given(st.text(max_size=40))
def test_what_the_xmpp_library_refuses_is_refused(text: str) -> None:
    try:
        JID(text)
    except (InvalidJID, UnicodeEncodeError):
        with pytest.raises(NotAnAddress):
            bare_jid(text)


@given(st.text(max_size=60))
def test_any_text_is_a_matrix_user_or_none(text: str) -> None:
    try:
        user_id(text)
    except NotAnAddress:
        return
    assert text.startswith("@")
    assert text.isascii()
    assert text.isprintable()


@given(st.binary(max_size=400))
def test_any_file_is_a_configuration_or_a_list_of_problems(octets: bytes) -> None:
    fuzz_config.target(octets)


@given(st.data())
def test_a_damaged_configuration_is_told_in_sentences(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(RIGHT)))
    end = data.draw(st.integers(start, min(len(RIGHT), start + 20)))
    fuzz_config.target((RIGHT[:start] + data.draw(st.text(max_size=8)) + RIGHT[end:]).encode(errors="replace"))


SECRET = st.text(string.ascii_uppercase + string.digits + "!#$%&'*+-/:=?@[]{}", min_size=8, max_size=30)
KEYS = st.sampled_from(["xmpp", "component", "matrix", "accounts", "alice", "contacts", "bob", "address", "port"])
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from(["@bob:x.org", "alice@x.org", "none", "x y"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=5))
def test_any_shape_of_known_keys_is_told_in_sentences(document: dict[str, object]) -> None:
    fuzz_config.target(json.dumps(document).encode())


@given(st.sampled_from(["secret_file: secrets/component", "password_file: secrets/alice-matrix"]), SECRET)
def test_a_secret_under_an_unknown_key_is_never_repeated(where: str, secret: str) -> None:
    key = where.partition("_")[0]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(RIGHT.replace(where, f"{key}: {json.dumps(secret)}"))
        with pytest.raises(ConfigError) as caught:
            load_config(file)
    told = str([(p.where, p.found, p.remedy) for p in caught.value.problems])
    assert secret not in told


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=30))
def test_a_secret_is_read_as_it_was_written(text: str) -> None:
    assume(text.strip())
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        site.secret("component", f"{text}\n")
        assert site.load().secrets.component == text


@given(st.integers(-(10**30), 10**30))
def test_whole_numbers_are_read_as_such(number: int) -> None:
    assert resolved(str(number)) == number


@given(st.recursive(st.just("x"), lambda inner: st.builds("[{}, *a, {}]".format, inner, inner), max_leaves=30))
def test_aliases_never_grow_a_document_without_bound(text: str) -> None:
    root, _ = read_document(f"a: &a [x, x]\nb: {text}\n".encode())
    assert root is None or root.size < 20_000


@given(st.binary(max_size=300))
def test_any_answer_of_a_component_port_is_read_or_refused(octets: bytes) -> None:
    fuzz_component_stream.target(octets)


@given(st.lists(st.integers(1, 40), max_size=20))
def test_a_stream_is_read_the_same_however_it_is_cut(sizes: list[int]) -> None:
    text = (
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' "
        b"xmlns:stream='http://etherx.jabber.org/streams' id='42' from='x'><stream:error>"
        b"<not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
    )
    reader, at = StreamReader(), 0
    for size in [*sizes, len(text)]:
        reader.feed(text[at : at + size])
        at += size
    assert (reader.id, reader.conditions) == ("42", ["not-authorized"])


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]><x/>",
        b"<html/>",
        b"<stream:stream",
        b"\x16\x03\x01",
        b"<a>" * 30_000,
    ],
)
def test_what_is_no_stream_is_refused_or_never_has_an_id(octets: bytes) -> None:
    reader = StreamReader()
    try:
        reader.feed(octets)
    except NotXmpp:
        return
    assert reader.id is None
