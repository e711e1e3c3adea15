"""The XMPP outside half without a server: the stream, requests, presence, discovery, confirmations."""

import asyncio
import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from adapters.outside_api import AccountRoutes, Route
from adapters.xmpp.inside_stanzas import refusal_content
from adapters.xmpp.names import (
    ENCRYPTED,
    ENCRYPTED_PRESENCE,
    ERROR,
    IQ,
    NEGOTIATE,
    NOTICE,
    NS_ESESSION,
    PLAIN,
    RECEIPT,
    STATE,
    SUBSCRIBE,
    Resources,
    address_of,
    jid_of,
)
from adapters.xmpp.outside_component import Confirmations
from adapters.xmpp.outside_disco import COMPONENT, CONTACT, announces_esession
from adapters.xmpp.outside_iq import answer
from adapters.xmpp.outside_pep import Pep
from adapters.xmpp.outside_roster import Roster
from adapters.xmpp.outside_stanzas import error_reply, rendered
from adapters.xmpp.outside_stream import MAX_STANZA, Cut, Cutter, SlixmppParser, StreamBroken
from adapters.xmpp.outside_tokens import WholeTokens
from adapters.xmpp.sentences import ERRORS, NOTICES, explanation, notice
from bridge.wire.values import Code, Opaque, Public, Sealed, Values
from client.stanzas import Meaning, read_error
from crypto.xml import parse_content

HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' "
    b"xmlns:stream='http://etherx.jabber.org/streams' id='x'>"
)
C = b"<c xmlns='http://www.xmpp.org/extensions/xep-0200.html#ns'><data>AA==</data><mac>AA==</mac></c>"
ENDS: Values = {"from": address_of("bob@m.x/lockgate"), "to": address_of("alice@x/my desk <1>")}


def cuts(*chunks: bytes) -> list[Cut]:
    cutter = Cutter()
    found = [one for chunk in chunks for one in cutter.feed(chunk)]
    return [one for one in found if isinstance(one, Cut)]


# ---------------------------------------------------------------- the stream
@pytest.mark.parametrize(
    "stanza",
    [
        b"<message from='a@b/c' to='d'><body>h\xc3\xa9 &lt;&gt; > ]]&gt;</body></message>",
        b"<iq/>",
        b"<presence a='1' b=\"/>\"/>",
        b"<message ></message >",
        b"<message><![CDATA[</message>]]></message>",
        b"<message>/></message>",
        b"<message><message><message/></message></message>",
    ],
)
def test_a_stanza_is_handed_on_as_the_octets_that_came(stanza: bytes) -> None:
    stream = HEADER + stanza + b" " + stanza + b"</stream:stream>"
    for size in (1, 2, 3, 7, len(stream)):
        chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [c.octets for c in cuts(*chunks)] == [stanza, stanza]


@pytest.mark.parametrize("size", range(1, 30))
def test_the_parser_never_sees_a_part_of_a_tag(size: int) -> None:
    stream = HEADER + b"<message a='/>' b=\"'\">h\xc3\xa9 &lt;&#x41; <![CDATA[<x>]]></message><!-- ' > --><iq/> "
    gate = WholeTokens()
    pieces = [gate.feed(stream[at : at + size]) for at in range(0, len(stream), size)]
    assert (b"".join(pieces), gate.waiting) == (stream, 0)
    ends = set(itertools.accumulate(map(len, pieces)))
    quoted = rb"'[^']*'|\"[^\"]*\""
    tags = re.finditer(rb"<!--.*?-->|<!\[CDATA.*?\]\]>|<(?:[^'\">]|" + quoted + rb")*>|&[^;]*;", stream)
    assert not ends & {at for tag in tags for at in range(tag.start() + 1, tag.end())}


def test_a_stanza_that_is_too_large_is_named_and_not_kept() -> None:
    small = b"<message from='a'/>"
    large = b"<message from='b'>" + b"x" * (MAX_STANZA + 10)
    found = cuts(HEADER, small, large, b"y" * 100, b"</message>", small)
    assert [(c.attributes["from"], c.octets) for c in found] == [("a", small), ("b", None), ("a", small)]
    assert found[1].element() is None


def test_an_endless_start_tag_breaks_the_stream() -> None:
    cutter = Cutter()
    list(cutter.feed(HEADER))
    list(cutter.feed(b"<message a='"))
    with pytest.raises(StreamBroken):
        list(cutter.feed(b"x" * (MAX_STANZA + 1)))


@pytest.mark.parametrize("junk", [b"<!DOCTYPE a>" + HEADER, HEADER + b"</wrong>", b"HTTP/1.1 400", HEADER + b"&a;"])
def test_what_is_not_xmpp_breaks_the_stream(junk: bytes) -> None:
    with pytest.raises(StreamBroken):
        cuts(junk)


def test_what_came_before_the_stream_broke_is_still_handed_on() -> None:
    seen: list[Cut] = []
    broken: list[bool] = []
    parser = SlixmppParser(seen.append, lambda: broken.append(True))
    parser.feed(HEADER + b"<message/></wrong>")
    events = list(parser.read_events())
    assert [event for event, _ in events] == ["start"]
    assert [cut.octets for cut in seen] == [b"<message/>"]
    assert broken == [True]


def test_stream_level_elements_go_to_slixmpp_with_their_namespaces() -> None:
    parser = SlixmppParser(lambda _: None, lambda: None)
    error = b"<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
    parser.feed(HEADER + error + b"<handshake/>")
    tags = [element.tag for _, element in parser.read_events()]
    assert tags[1:] == ["{http://etherx.jabber.org/streams}error"] * 2 + ["{jabber:component:accept}handshake"] * 2


# ---------------------------------------------------------------- requests as stanzas
def message(request: str, **values: object) -> ET.Element:
    octets = rendered(request, {**ENDS, **values})  # type: ignore[dict-item]  # the shape is checked by `rendered`
    stanza = ET.fromstring(octets)
    assert stanza.get("to") == "alice@x/my desk <1>"
    return stanza


def test_an_encrypted_stanza_has_thread_content_an_explanation_and_hints() -> None:
    stanza = message(ENCRYPTED, id=Opaque(v="i"), thread=Opaque(v="t"), content=Sealed(v=C))
    tags = [child.tag.rpartition("}")[2] for child in stanza]
    assert tags == ["thread", "c", "body", "encryption", "private", "no-permanent-store", "no-copy"]
    assert (stanza.get("type"), stanza.get("id"), stanza.findtext("thread")) == ("chat", "i", "t")


def test_a_stanza_for_a_moment_is_never_stored_and_says_nothing_to_other_clients() -> None:
    stanza = message(STATE, id=Opaque(v="i"), thread=Opaque(v="t"), content=Sealed(v=C))
    assert [child.tag.rpartition("}")[2] for child in stanza] == ["thread", "c", "private", "no-store", "no-copy"]


def test_an_encrypted_presence_holds_nothing_else() -> None:
    stanza = message(ENCRYPTED_PRESENCE, content=Sealed(v=C))
    assert (stanza.tag, stanza.get("type"), stanza.get("id")) == ("presence", None, None)
    assert [child.tag.rpartition("}")[2] for child in stanza] == ["c"]


@pytest.mark.parametrize("kind", ["get", "set", "result"])
def test_an_encrypted_iq_holds_nothing_else(kind: str) -> None:
    stanza = message(IQ, id=Opaque(v="i"), kind=Code(v=kind), content=Sealed(v=C))
    assert (stanza.tag, stanza.get("type"), stanza.get("id")) == ("iq", kind, "i")
    assert [child.tag.rpartition("}")[2] for child in stanza] == ["c"]


def test_what_is_wrong_with_an_encrypted_iq_stands_inside_the_encryption_only() -> None:
    code, id_ = Code(v="no-such-query"), Opaque(v="i")
    error = b"<error type='cancel'><undefined-condition/>" + C + b"</error>"
    sealed = message(IQ, id=id_, kind=Code(v="error"), content=Sealed(v=error), code=code)
    assert [child.tag.rpartition("}")[2] for child in sealed] == ["error"]
    assert [child.tag.rpartition("}")[2] for child in sealed[0]] == ["undefined-condition", "c"]
    clear = message(IQ, id=id_, kind=Code(v="error"), code=code)
    assert [child.tag.rpartition("}")[2] for child in clear[0]] == ["feature-not-implemented", "text"]


def test_a_negotiation_stanza_has_neither_type_nor_body() -> None:
    stanza = message(NEGOTIATE, id=Opaque(v="i"), thread=Opaque(v="t"), form=Public(v=b"<feature/>"))
    assert stanza.get("type") is None
    assert [child.tag.rpartition("}")[2] for child in stanza][:2] == ["feature", "thread"]
    assert stanza.find("body") is None


def test_a_negotiation_that_is_refused_is_an_error_stanza() -> None:
    values = {"id": Opaque(v="i"), "thread": Opaque(v="t"), "form": Public(v=b"<error/>"), "kind": Code(v="error")}
    assert message(NEGOTIATE, **values).get("type") == "error"


@pytest.mark.parametrize("code", [*ERRORS, "never-heard-of"])
def test_every_error_is_one_of_the_protocol_with_a_sentence(code: str) -> None:
    stanza = message(ERROR, code=Code(v=code), id=Opaque(v="i"))
    about = explanation(code)
    error = stanza.find("error")
    assert error is not None
    assert error.get("type") == about.kind in {"auth", "cancel", "continue", "modify", "wait"}
    assert error[0].tag == f"{{urn:ietf:params:xml:ns:xmpp-stanzas}}{about.condition}"
    assert error[1].text == about.sentence
    assert about.sentence.endswith((".", "interfering with the connection."))


_NOT_KEPT = {"busy", "half-open", "not-verified", "verify-again"}
"""What is told before a message was taken: the client keeps it, and sends it again."""


@pytest.mark.parametrize("code", [code for code in ERRORS if code not in _NOT_KEPT and not code.startswith("omemo-")])
def test_a_client_takes_every_refusal_for_what_it_is(code: str) -> None:
    """Were it kept and sent again, or taken for the end of the session, it would wait for ever, and nobody be told."""
    (error,) = [e for e in parse_content(refusal_content("m", code)) if e.name == "error"]
    assert read_error(error).meaning is Meaning.FINAL


@pytest.mark.parametrize("code", [*NOTICES, "never-heard-of"])
def test_every_notice_has_a_sentence(code: str) -> None:
    assert message(NOTICE, code=Code(v=code), id=Opaque(v="i")).findtext("body") == notice(code)


def test_plain_messages_receipts_and_subscriptions() -> None:
    plain = message(PLAIN, id=Opaque(v="i"), body=Public(v="<&>\"' ü\n".encode()))
    assert plain.findtext("body") == "<&>\"' ü\n"
    assert message(RECEIPT, id=Opaque(v="i"), received=Opaque(v="r"))[0].get("id") == "r"
    assert message(SUBSCRIBE).get("type") == "subscribe"


@pytest.mark.parametrize(
    ("request_", "values"),
    [
        ("nonsense", {}),
        (ENCRYPTED, {}),
        (SUBSCRIBE, {"body": Public(v=b"")}),
        (NOTICE, {"id": Opaque(v="i"), "code": Opaque(v="x")}),
        (IQ, {"id": Opaque(v="i"), "kind": Code(v="get")}),
        (IQ, {"id": Opaque(v="i"), "kind": Code(v="error")}),
        (IQ, {"id": Opaque(v="i"), "kind": Code(v="other"), "content": Sealed(v=C)}),
    ],
)
def test_a_request_of_another_shape_is_not_rendered(request_: str, values: Values) -> None:
    with pytest.raises(ValueError, match="shape"):
        rendered(request_, {**ENDS, **values})


def test_addresses_survive_the_wall_whatever_the_resource_holds() -> None:
    for jid in ("a@b/c", "a@b/my desk", "a@b/100% é\t", "a@b/%20", "a%b@c/d"):
        assert jid_of(address_of(jid)) == jid


def test_an_error_reply_escapes_what_the_peer_chose() -> None:
    octets = error_reply("message", sender="'<>&", to="a'b", id_='"<', code="forbidden")
    assert ET.fromstring(octets).attrib == {"from": "'<>&", "to": "a'b", "id": '"<', "type": "error"}


# ---------------------------------------------------------------- presence
def roster() -> Roster:
    contacts = (Route("bob", "matrix", "@b:x", "bob@m.x"), Route("eve", "matrix", "@e:x", "eve@m.x"))
    return Roster([AccountRoutes("alice", "Alice@X", {}, contacts)])


def test_a_resource_is_gone_when_no_contact_sees_it_any_longer() -> None:
    map_ = roster()
    for contact in ("bob@m.x", "eve@m.x"):
        found = map_.available("alice", "alice@x/a", contact, 0, "caps")
        assert found is not None
        found.able = True
    assert not map_.unavailable("alice", "alice@x/a", "bob@m.x/lockgate")
    assert map_.snapshot("alice", complete=True) == Resources((("alice@x/a", True),), True)
    assert map_.unavailable("alice", "alice@x/a", "eve@m.x")
    assert map_.snapshot("alice", complete=True) == Resources((), True)


def test_the_most_available_resource_comes_first_and_unknown_abilities_are_left_out() -> None:
    map_ = roster()
    for jid, priority, able in (("x/a", 0, True), ("x/b", 5, False), ("x/c", 5, True), ("x/d", 9, None)):
        found = map_.available("alice", jid, "bob@m.x", priority, None)
        assert found is not None
        found.able = able
    assert map_.snapshot("alice", complete=False).available == (("x/c", True), ("x/b", False), ("x/a", True))


def test_new_capabilities_are_asked_for_again_and_resources_are_limited() -> None:
    map_ = roster()
    first = map_.available("alice", "x/a", "bob@m.x", 0, "one")
    assert first is not None
    first.able = True
    again = map_.available("alice", "x/a", "bob@m.x", 0, "two")
    assert again is not None
    assert again.able is None
    assert [map_.available("alice", f"x/{n}", "bob@m.x", 0, None) is None for n in range(64)] == [False] * 63 + [True]


def test_accounts_and_contacts_are_found_without_regard_to_case_and_only_by_their_own_account() -> None:
    map_ = roster()
    account = map_.account_of("ALICE@x/desk")
    assert account is not None
    assert account.account == "alice"
    assert map_.account_of("mallory@x") is None
    assert map_.contact("alice", "BOB@M.X/any") is not None
    assert map_.contact("other", "bob@m.x") is None


# ---------------------------------------------------------------- discovery
def iq(inner: str, *, to: str, sender: str = "alice@x/desk", kind: str = "get") -> ET.Element | None:
    asked = ET.fromstring(f"<iq from='{sender}' to='{to}' id='1' type='{kind}'>{inner}</iq>")
    octets = answer(asked, "m.x", roster(), Pep(lambda _: None))
    return None if octets is None else ET.fromstring(octets)


INFO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"


def test_only_the_account_it_belongs_to_is_answered_for_a_contact() -> None:
    ours = iq(INFO, to="bob@m.x/lockgate")
    assert ours is not None
    assert announces_esession(ours)
    for other in (
        iq(INFO, to="bob@m.x", sender="mallory@x/a"),
        iq(INFO, to="nobody@m.x"),
        iq(INFO, to="bob@m.x/other"),
    ):
        assert other is not None
        assert other.get("type") == "error"
        assert not announces_esession(other)


def test_the_component_answers_anybody_and_lists_contacts_to_their_account_only() -> None:
    listing = "<query xmlns='http://jabber.org/protocol/disco#items'/>"
    for sender, count in (("alice@x/desk", 2), ("mallory@x/a", 0)):
        assert (info := iq(INFO, to="m.x", sender=sender)) is not None
        assert info.find(".//{*}identity[@category='gateway']") is not None
        assert (items := iq(listing, to="m.x", sender=sender)) is not None
        assert len(items[0]) == count


def test_a_node_that_is_not_ours_and_other_questions_are_unavailable() -> None:
    node = INFO.replace("/>", " node='http://other#x'/>")
    for asked in (iq(node, to="bob@m.x"), iq("<x/>", to="bob@m.x"), iq(INFO, to="bob@m.x", kind="set")):
        assert asked is not None
        assert asked.find(".//{*}service-unavailable") is not None
    assert iq(INFO, to="bob@m.x", kind="result") is None


def test_features_name_esessions_and_the_verification_string_is_that_of_the_specification() -> None:
    from adapters.xmpp.outside_disco import Entity, Identity

    assert NS_ESESSION in CONTACT.features
    assert NS_ESESSION not in COMPONENT.features
    # XEP-0115, section 5.2: the simple generation example.
    muc, info = "http://jabber.org/protocol/muc", "http://jabber.org/protocol/disco#info"
    example = Entity(
        Identity("client", "pc", "Exodus 0.9.1"), ("http://jabber.org/protocol/caps", info, f"{info[:-4]}items", muc)
    )
    assert example.verification == "QgayPKawpkPSDYmwT/WM94uAlu0="


# ---------------------------------------------------------------- confirmations
def test_one_question_confirms_everything_written_before_it() -> None:
    async def scenario() -> None:
        written: list[bytes] = []
        confirmations = Confirmations("m.x", written.append)
        first = [confirmations.wrote() for _ in range(3)]
        await asyncio.sleep(0)
        assert len(written) == 1
        second = confirmations.wrote()
        await asyncio.sleep(0)
        assert len(written) == 1, "one question at a time"
        ask: Callable[[int], str] = lambda at: ET.fromstring(written[at]).get("id", "")  # noqa: E731
        assert not confirmations.came_back("somebody-else")
        assert confirmations.came_back(ask(0))
        assert [future.result() for future in first] == [True] * 3
        assert not second.done()
        assert len(written) == 2
        assert confirmations.came_back(ask(0)), "an old answer is ours, and confirms nothing"
        assert not second.done()
        confirmations.lost()
        assert second.result() is False

    asyncio.run(scenario())
