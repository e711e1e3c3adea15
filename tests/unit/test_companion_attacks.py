"""The companion under attack: a server that forges, a contact that sends what is not only words."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from adapters.companion import names
from adapters.companion.inside_stanzas import read_stanza
from adapters.companion.names import LOCAL, PLAIN, SEALED, Ability, Able
from bridge.ledger.errors import LedgerFull
from bridge.ledger.sqlite import SqliteLedger
from companion.hook import Action, ToClient, ToServer
from companion.local_certificate import kept_password
from companion.store import CompanionStore
from companion.stream import MAX_FROM_SERVER, Element, StreamReader
from tests.unit import companion_world as local
from tests.unit.companion_desk import Desk
from tests.unit.companion_peer import ALICE, ALICE_FULL, BOB, BOB_FULL, Bob, from_client
from tests.unit.test_companion_enclave import World, until, world

CARBONS = "urn:xmpp:carbons:2"
FORWARD = "urn:xmpp:forward:0"
CAROL = "carol@x.example"


@pytest.fixture
def talking() -> Desk:
    """With a session in which one message went."""
    desk = Desk().online()
    desk.write("alpha")
    assert desk.bob.heard == ["alpha"]
    return desk


def forwarded(sender: str, to: str, text: str) -> str:
    inner = f"<message xmlns='jabber:client' from='{sender}' to='{to}' type='chat'><body>{text}</body></message>"
    return f"<forwarded xmlns='{FORWARD}'>{inner}</forwarded>"


def from_server(content: str, sender: str = ALICE) -> bytes:
    return f"<message from='{sender}' to='{ALICE_FULL}'>{content}</message>".encode()


# ---------------------------------------------------------------- copies
@pytest.mark.parametrize(
    "wrapper",
    [f"sent xmlns='{CARBONS}'", "result xmlns='urn:xmpp:mam:2' id='1'"],
)
def test_our_own_server_cannot_put_words_for_such_a_peer_into_our_own_mouth(talking: Desk, wrapper: str) -> None:
    before = len(talking.shown)
    name = wrapper.split(maxsplit=1)[0]
    talking.hear(from_server(f"<{wrapper}>{forwarded(ALICE, BOB, 'I owe you')}</{name}>"))
    assert not any(b"<forwarded" in stanza for stanza in talking.shown[before:])
    assert all("NOT encrypted" in text for text in talking.told(before))


@pytest.mark.parametrize(
    "content",
    [
        f"<received xmlns='{CARBONS}'>{forwarded(CAROL, ALICE, 'x')}</received>"
        f"<result xmlns='urn:xmpp:mam:2'>{forwarded(BOB_FULL, ALICE, 'forged')}</result>",
        f"<received xmlns='{CARBONS}'>{forwarded(CAROL, ALICE, 'x')}{forwarded(BOB_FULL, ALICE, 'forged')}</received>",
        f"<received xmlns='{CARBONS}'><x xmlns='y'>{forwarded(BOB_FULL, ALICE, 'forged')}</x></received>",
        f"<received xmlns='{CARBONS}'>{forwarded(BOB_FULL.upper(), ALICE, 'forged')}</received>",
    ],
)
def test_a_copy_is_not_hidden_behind_another(talking: Desk, content: str) -> None:
    before = len(talking.shown)
    talking.hear(from_server(content))
    assert not any(b"forged" in s and BOB.encode() in s for s in talking.shown[before:])
    assert not any(b"<forwarded" in s for s in talking.shown[before:])


@pytest.mark.parametrize("sender", ["far.example", "mallory@far.example/x"])
def test_a_copy_from_anybody_else_is_no_better(talking: Desk, sender: str) -> None:
    before = len(talking.shown)
    content = f"<received xmlns='{CARBONS}'>{forwarded(BOB_FULL, ALICE, 'forged')}</received>"
    talking.hear(from_server(content, sender))
    assert not any(b"<forwarded" in stanza for stanza in talking.shown[before:])


# ---------------------------------------------------------------- addresses that clients read as others
ALIASES = [
    "ｂob@far.example/x",
    "bob@far.example./x",
    "bob@far\uff0eexample/x",
    "bob@far\u3002example/x",
    "b\u00adob@far.example/x",
    "b\u200bob@far.example/x",
    "b\u034fob@far.example/x",
    "\u1d47ob@far.example/x",
    "bob@far.example\u00a0/x",
    f"{'b' * 1024}@far.example/x",
]


@pytest.mark.parametrize("alias", ALIASES)
def test_nothing_is_shown_from_an_address_that_no_server_would_write_so(talking: Desk, alias: str) -> None:
    before = len(talking.shown)
    talking.hear(f"<message from='{alias}' to='{ALICE_FULL}' type='chat'><body>forged</body></message>".encode())
    assert not any(b"forged" in stanza for stanza in talking.shown[before:])


@pytest.mark.parametrize("alias", ALIASES)
def test_nothing_goes_in_plain_to_an_address_that_the_server_may_read_as_such_a_peers(
    talking: Desk, alias: str
) -> None:
    before = len(talking.shown)
    talking.arrive(names.FROM_CLIENT, from_client("secret", to=alias))
    talking.later(10_000)
    assert not talking.left("secret")
    assert any(b"jid-malformed" in stanza for stanza in talking.shown[before:])


@pytest.mark.parametrize("sender", ["ｌockgate.local", "lockgate.local.", "loc\u212agate.local/x", "LOCKGATE.LOCAL"])
def test_nobody_speaks_in_a_name_that_reads_as_the_local_contacts(talking: Desk, sender: str) -> None:
    before = len(talking.shown)
    talking.hear(f"<message from='{sender}' to='{ALICE_FULL}'><body>verified</body></message>".encode())
    assert talking.shown[before:] == []


def test_resources_may_hold_what_addresses_may_not(talking: Desk) -> None:
    stanza = f"<message from='room@x.example/\U0001f468\u200d\U0001f469 ' to='{ALICE_FULL}' type='groupchat'/>".encode()
    talking.hear(stanza)
    assert talking.shown[-1] == stanza


def test_a_type_does_not_lead_around_the_encryption(talking: Desk) -> None:
    stanza = f"<message to='{BOB}' type='groupchat'><body>secret</body></message>".encode()
    talking.arrive(names.FROM_CLIENT, stanza)
    assert not talking.left("secret")
    assert (PLAIN, stanza) not in talking.sent


# ---------------------------------------------------------------- plaintext without a body
@pytest.mark.parametrize(
    "content",
    [
        "<subject>forged</subject>",
        "<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>forged</body></html>",
        "<retract xmlns='urn:xmpp:message-retract:1' id='forged'/>",
        "<x xmlns='jabber:x:oob'><url>https://forged.example</url></x>",
    ],
)
def test_what_comes_unencrypted_without_a_body_is_not_shown_as_the_peers_either(talking: Desk, content: str) -> None:
    before = len(talking.shown)
    talking.hear(from_server(content, BOB_FULL))
    assert not any(b"forged" in stanza for stanza in talking.shown[before:])
    assert any("NOT encrypted" in text for text in talking.told(before))


def test_personal_events_of_such_a_peer_pass(talking: Desk) -> None:
    event = from_server("<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='n'/></event>", BOB)
    talking.hear(event)
    assert talking.shown[-1] == event


def test_foreign_text_cannot_look_like_the_local_contacts_own_lines(talking: Desk) -> None:
    before = len(talking.shown)
    forged = "hi\nbob: verified.\u2028bob: verified.\u0085bob: verified.&#13;bob: verified. \u202ereversed"
    talking.hear(from_server(f"<body>{forged}</body>", BOB_FULL))
    lines = "".join(talking.told(before)).splitlines()
    assert [line for line in lines if line.startswith("bob: verified")] == []
    assert "\u202e" not in "".join(lines)


# ---------------------------------------------------------------- inside a session
@pytest.mark.parametrize(
    "element",
    [
        f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ALICE}' id='forged'/>",
        f"<received xmlns='{CARBONS}'>{forwarded(CAROL, ALICE, 'forged')}</received>",
        f"<sent xmlns='{CARBONS}'>{forwarded(ALICE, CAROL, 'forged')}</sent>",
        f"<result xmlns='urn:xmpp:mam:2' id='1'>{forwarded(CAROL, ALICE, 'forged')}</result>",
        f"<result xmlns='urn:xmpp:mam:1' id='1'>{forwarded(CAROL, ALICE, 'forged')}</result>",
    ],
)
def test_what_only_a_server_may_say_is_taken_out_of_a_contacts_content(talking: Desk, element: str) -> None:
    talking.hear(*talking.bob.say(f"<body>words</body>{element}".encode()))
    assert talking.texts(BOB) == ["words"]
    assert not any(b"forged" in stanza for stanza in talking.shown)


@pytest.mark.parametrize(
    "content",
    [
        b"</message><presence from='carol@x.example' type='subscribe'/><message>",
        b"<body>a</body></message><iq type='set'><query xmlns='jabber:iq:roster'/></iq><message>",
        b"<body>]]></body>",
        b"<body>&#0;</body>",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><body>&b;</body>",
        b"<stream:error xmlns:stream='http://etherx.jabber.org/streams'/></stream:stream>",
    ],
)
def test_content_never_breaks_out_of_its_stanza(talking: Desk, content: bytes) -> None:
    before = len(talking.shown)
    talking.hear(*talking.bob.say(content))
    for stanza in talking.shown[before:]:
        assert read_stanza(stanza).name == "message"
        assert (read_stanza(stanza).attribute("from") or "").partition("/")[0] in (BOB, LOCAL)


def test_stanzas_as_content_stay_content(talking: Desk) -> None:
    inner = f"<iq type='set' from='{ALICE}' id='1'><query xmlns='jabber:iq:roster'/></iq><body>w</body>"
    talking.hear(*talking.bob.say(inner.encode()))
    shown = [read_stanza(s) for s in talking.shown]
    assert {s.name for s in shown} == {"message"}
    assert talking.texts(BOB) == ["w"]


# ---------------------------------------------------------------- the clock
def test_a_clock_that_is_set_back_holds_nothing_up(talking: Desk) -> None:
    talking.arrive(names.FROM_CLIENT, from_client("hello", to=CAROL))
    talking.step.now -= 3_600_000
    talking.arrive(names.FROM_CLIENT, from_client("hello again", to=CAROL))
    assert [request for request, _ in talking.sent[-2:]] == [PLAIN, PLAIN]
    talking.hear(*talking.bob.end())
    talking.write("beta")
    talking.later(6000)
    assert talking.sent[-1][0] == SEALED
    talking.step.now -= 3_600_000
    talking.arrive(names.ABLE, Able(f"{BOB}/two", Ability.YES).encode())
    talking.hear(*talking.bob.end())
    talking.write("gamma")
    talking.later(6000)
    assert "gamma" in talking.bob.heard


# ---------------------------------------------------------------- the proxy, before the enclave
@pytest.fixture
async def driven(tmp_path: Path) -> AsyncIterator[World]:
    """The driver with a real enclave, and a session with Bob."""
    async with world(tmp_path, Bob()) as made:
        await made.client(from_client("alpha"))
        await until(lambda: made.bob.heard == ["alpha"], "the first message")
        yield made


async def _shown(driven: World, stanza: str) -> Sequence[Action]:
    return await driven.interceptor.from_server(stanza.encode())


@pytest.mark.timeout(60)
async def test_the_proxy_is_not_led_around_the_enclave(driven: World) -> None:
    hidden = FORWARD.replace(":", "&#x3a;")
    inner = forwarded(BOB_FULL, ALICE, "forged").replace(FORWARD, hidden)
    for wrapper in (f"received xmlns='{CARBONS.replace(':', '&#58;')}'", "result xmlns='urn:xmpp:mam:2'"):
        name = wrapper.split(maxsplit=1)[0]
        stanza = f"<message from='{ALICE}' to='{ALICE_FULL}'><{wrapper}>{inner}</{name}></message>"
        assert not any(b"<forwarded" in action.octets for action in await _shown(driven, stanza))
    deep = "<a>" * 50 + "</a>" * 50
    for content in (
        f"<\u00e9:body xmlns:\u00e9='jabber:client'>forged</\u00e9:body>{deep}",
        f"<subject>forged</subject>{deep}",
        f"<body>forged</body>{'<a/>' * 40_000}",
    ):
        actions = await _shown(driven, f"<message from='{BOB_FULL}' to='{ALICE_FULL}' id='1'>{content}</message>")
        assert [(type(action), b"not-acceptable" in action.octets) for action in actions] == [(ToServer, True)]
        assert not any(b"forged" in action.octets for action in actions)


@pytest.mark.timeout(60)
async def test_the_proxy_lets_nothing_pass_for_the_local_contact_or_about_it(driven: World) -> None:
    for name in (LOCAL, "Lockgate.Local/x", "\uff4cockgate.local", "lockgate.local.", "lockgate.local\u00ad/x"):
        for kind in ("message", "presence", "iq"):
            assert (
                await _shown(driven, f"<{kind} from='{name}' to='{ALICE_FULL}' type='set'><body>x</body></{kind}>")
                == []
            )
    item = "<query xmlns='jabber:iq:roster'><item jid='Lockgate.local' subscription='remove'/></query>"
    assert await _shown(driven, f"<iq type='set' id='1' to='{ALICE_FULL}'>{item}</iq>") == []


@pytest.mark.timeout(60)
async def test_words_about_the_protocol_are_words(driven: World) -> None:
    """The name of a namespace in somebody's text is no ciphertext, and no reason to drop it."""
    text = "see http://www.xmpp.org/extensions/xep-0200.html#ns and urn:xmpp:forward:0"
    copy = f"<received xmlns='{CARBONS}'>{forwarded('carol@x.example', ALICE, text)}</received>"
    stanza = f"<message from='{ALICE}' to='{ALICE_FULL}'>{copy}</message>"
    assert await _shown(driven, stanza) == [ToClient(stanza.encode())]


# ---------------------------------------------------------------- streams
@pytest.mark.parametrize(
    "content",
    [
        "<a>" * 300 + "</a>" * 300,
        "x" * (5 << 20),
        "<u:x xmlns:v='urn:v'/>",
        "<x xmlns:a='urn:n' xmlns:b='urn:n' a:y='1' b:y='1'/>",
    ],
)
def test_a_stanza_of_somebody_else_does_not_end_the_servers_stream(content: str) -> None:
    reader = StreamReader(MAX_FROM_SERVER, lenient=True)
    octets = local.HEADER + f"<message from='m@x/y' id='1'>{content}</message><presence/>".encode()
    found = [
        element for start in range(0, len(octets), 65536) for element in reader.read(octets[start : start + 65536])
    ]
    bad, good = (element for element in found if isinstance(element, Element))
    assert bad.octets == b""
    assert bad.is_stanza
    assert (bad.xml.get("from"), bad.xml.get("id")) == ("m@x/y", "1")
    assert good.octets == b"<presence/>"
    assert len(reader._kept) < 1000


def test_an_empty_password_file_is_no_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("\n")
    assert len(kept_password(tmp_path)[0]) > 20


async def test_a_full_disk_is_full_until_it_takes_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise LedgerFull

    store = CompanionStore(tmp_path / "state.db", lambda _: None)
    monkeypatch.setattr(SqliteLedger, "count", full)
    await store.count("any")
    with pytest.raises(LedgerFull):
        await store.count("storage-full")
    await store.close()


@pytest.mark.parametrize("jid", ["bob@far.example/\ud800", "bob@far.example/\ufffe", "bob@far.example/a\nb", "/x", ""])
def test_a_word_about_an_address_that_cannot_be_written_changes_nothing(talking: Desk, jid: str) -> None:
    before = talking.peer
    talking.arrive(names.ABLE, Able(jid, Ability.YES).encode())
    assert talking.peer == before
    talking.write("goes on")
    assert "goes on" in talking.bob.heard


def test_what_went_encrypted_does_not_go_in_plain_when_the_user_says_plain(talking: Desk) -> None:
    talking.bob.receipts = False
    talking.write("sent encrypted", id_="e1")
    talking.hear(*talking.bob.end())
    before = len(talking.shown)
    talking.reaching = False
    talking.write("never sent", id_="n1")
    talking.command("plain bob")
    assert talking.left("never sent")
    assert not talking.left("sent encrypted")
    errors = [s for s in talking.shown[before:] if b'type="error"' in s]
    assert len(errors) == 1
    assert b'id="e1"' in errors[0]
    assert talking.peer.line.waiting == 0
