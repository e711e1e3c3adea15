"""XML as stanzas have it: what is read, what is refused, what is written."""

import gc
from typing import Any

import msgspec
import pytest

from crypto.errors import Misuse
from crypto.xml import (
    CLIENT,
    Element,
    Flaw,
    IllegalCharacter,
    MalformedXml,
    element,
    parse,
    parse_content,
    sanitise_text,
    serialize,
)

HELLO = b"<message xmlns='jabber:client' to='b@x' type=\"chat\">"
HELLO += b"<body>hi &lt;&amp;&gt; \xf0\x9f\x98\x80</body></message>"


def test_a_stanza_is_read_with_names_attributes_and_text() -> None:
    stanza = parse(HELLO)
    assert (stanza.namespace, stanza.name) == (CLIENT, "message")
    assert stanza.attribute("type") == "chat"
    assert stanza.attribute("from") is None
    body = stanza.child(CLIENT, "body")
    assert body is not None
    assert body.text == "hi <&> 😀"
    assert stanza.elements == (body,)
    assert stanza.child("other", "body") is None


def test_prefixes_are_resolved_and_namespaced_attributes_keep_their_namespace() -> None:
    read = parse(b"<a xmlns:p='urn:p' xml:lang='en' p:x='1' x='2'><p:b/></a>")
    assert read.elements[0] == Element("urn:p", "b")
    assert dict(read.attributes) == {"xml:lang": "en", "{urn:p}x": "1", "x": "2"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Flaw.NOT_WELL_FORMED),
        (b"<a>", Flaw.NOT_WELL_FORMED),
        (b"<a></b>", Flaw.NOT_WELL_FORMED),
        (b"<a/><b/>", Flaw.NOT_WELL_FORMED),
        (b"<a b='1' b='2'/>", Flaw.NOT_WELL_FORMED),
        (b"<p:a/>", Flaw.NOT_WELL_FORMED),
        (b"<a>\xff</a>", Flaw.NOT_WELL_FORMED),
        (b"<a>\x01</a>", Flaw.NOT_WELL_FORMED),
        (b"<a>&#x1;</a>", Flaw.NOT_WELL_FORMED),
        (b"<a>&#xD800;</a>", Flaw.NOT_WELL_FORMED),
        (b"<a>\xed\xa0\x80</a>", Flaw.NOT_WELL_FORMED),
        (b"<a>&copy;</a>", Flaw.NOT_WELL_FORMED),
        ("<a/>".encode("utf-16"), Flaw.NOT_WELL_FORMED),
        (b"<!DOCTYPE a><a/>", Flaw.RESTRICTED),
        (b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", Flaw.RESTRICTED),
        (b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", Flaw.RESTRICTED),
        (b"<?xml version='1.0' encoding='utf-16'?><a/>", Flaw.RESTRICTED),
        (b"<?xml version='1.0'?><a/>", Flaw.RESTRICTED),
        (b"<a><?php x?></a>", Flaw.RESTRICTED),
        (b"<a><!-- x --></a>", Flaw.RESTRICTED),
        (b"<a>" * 17 + b"</a>" * 17, Flaw.TOO_DEEP),
        (b"<a>" + b"<b/>" * 1000 + b"</a>", Flaw.TOO_MANY_ELEMENTS),
        (b"<a " + b" ".join(b"b%d=''" % i for i in range(33)) + b"/>", Flaw.TOO_MANY_ATTRIBUTES),
        (b"<a>" + b"x" * (1 << 20) + b"</a>", Flaw.TOO_LARGE),
    ],
)
def test_what_a_stanza_may_not_hold_is_refused_by_name(data: bytes, reason: Flaw) -> None:
    with pytest.raises(MalformedXml) as caught:
        parse(data)
    assert caught.value.reason is reason


def test_a_billion_laughs_stay_at_none() -> None:
    bomb = b"<!DOCTYPE a [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'>]><a>&b;</a>"
    with pytest.raises(MalformedXml) as caught:
        parse(bomb)
    assert caught.value.reason is Flaw.RESTRICTED


def test_a_refusal_says_nothing_about_what_was_refused() -> None:
    with pytest.raises(MalformedXml) as caught:
        parse(b"<secret>the secret</oops>")
    assert "secret" not in repr(caught.value)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_limits_are_the_callers() -> None:
    assert parse(b"<a><b/></a>", max_depth=2, max_elements=2, max_octets=11).elements
    for limit in ({"max_depth": 1}, {"max_elements": 1}, {"max_octets": 10}):
        with pytest.raises(MalformedXml):
            parse(b"<a><b/></a>", **limit)


# ---------------------------------------------------------------------------------------------------- content
def test_content_is_a_row_of_elements_with_white_space_between_and_after() -> None:
    found = parse_content(b"<body>hi</body>\n <active xmlns='http://jabber.org/protocol/chatstates'/>       ")
    assert [e.name for e in found] == ["body", "active"]
    assert found[0].namespace == CLIENT


def test_content_may_be_empty_of_elements() -> None:
    assert parse_content(b"    ") == ()


@pytest.mark.parametrize(
    "data",
    [
        b"</content><content>",
        b"<a/></content><content xmlns='jabber:client'><b/>",
        b"</content><!--",
        b"<![CDATA[",
        b"<a>",
        b"<?xml version='1.0'?><a/>",
        b"<!DOCTYPE a><a/>",
        b"text <a/>",
        b"<a/> text",
        b"\xef\xbb\xbf<a/>",
    ],
)
def test_content_cannot_leave_the_place_it_stands_in(data: bytes) -> None:
    with pytest.raises(MalformedXml):
        parse_content(data)


# ---------------------------------------------------------------------------------------------------- writing
def test_what_was_read_is_written_so_that_it_reads_the_same() -> None:
    for data in (
        HELLO,
        b"<a xmlns='u' xmlns:p='v' p:b='1' xml:lang='x'>t<p:c d=' &#x9;&#xA;&quot;'/>&#xD;<e xmlns=''/></a>",
        b"<a>" + b"long &amp; " * 5000 + b"</a>",
        "<ä ö='ü'/>".encode(),
    ):
        read = parse(data)
        assert parse(serialize(read)) == read


def test_a_long_text_is_one_text() -> None:
    text = "x" * 100_000 + "\n" + "ü" * 50_000
    read = parse(f"<a>{text}</a>".encode())
    assert read.children == (text,)


def test_the_default_namespace_is_written_only_where_it_changes() -> None:
    stanza = element(CLIENT, "message", element(CLIENT, "body", "x"), element("urn:y", "z"), type_="chat")
    assert serialize(stanza, inherited=CLIENT) == b'<message type="chat"><body>x</body><z xmlns="urn:y"/></message>'


@pytest.mark.parametrize("bad", ["\x00", "\x08", "\x1b", "\ufffe", "\uffff", "\ud800", "\x0b"])
def test_characters_xml_cannot_express_are_refused_and_can_be_replaced(bad: str) -> None:
    for broken in (Element("", "a", (), (f"x{bad}y",)), Element("", "a", (("b", bad),))):
        with pytest.raises(IllegalCharacter):
            serialize(broken)
    clean = sanitise_text(f"x{bad}y")
    assert clean == "x\ufffdy"
    assert parse(serialize(Element("", "a", (), (clean,)))).text == clean


def test_legal_text_is_left_alone_by_cleaning() -> None:
    text = "tab\t newline\n שלום 😀 \U0010fffd \u200f"
    assert sanitise_text(text) == text


@pytest.mark.parametrize("name", ["", "a b", "a>", "1a", "a:b", "a/", 'a"', "a\x00", "-", "a="])
def test_a_name_that_is_none_is_our_mistake(name: str) -> None:
    with pytest.raises(Misuse):
        serialize(Element("", name))
    with pytest.raises(Misuse):
        serialize(Element("", "a", ((name, "x"),)))


def test_an_element_survives_the_state_codec() -> None:
    read = parse(b"<a xmlns='u'>t<b c='d'>x</b>y</a>")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(read), type=Element) == read


def test_text_is_not_shown_by_repr() -> None:
    assert "hush" not in repr(parse(b"<a x='hush'><b>hush</b></a>"))


def test_no_element_outlives_its_parse() -> None:
    parse(b"<marker-element/>")
    gc.collect()
    alive: list[Any] = [o for o in gc.get_objects() if isinstance(o, Element) and o.name == "marker-element"]
    assert alive == []
