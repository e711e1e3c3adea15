"""What the companion announces, whom it believes, what the local contact answers, and its configuration."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.companion.names import FEATURES, LOCAL, Ability, Able
from bridge.errors import ConfigError
from companion.caps import Form, Info, read_info
from companion.config import from_options, load_companion
from companion.disco import NODE, Disco
from companion.hook import Action, ToClient, ToServer
from companion.local_contact import LocalContact
from companion.peek import Unreadable, peek, written
from tests.unit.companion_peer import ALICE_FULL, BOB_FULL

INFO = "http://jabber.org/protocol/disco#info"
_BASE = (
    "http://jabber.org/protocol/caps",
    INFO,
    "http://jabber.org/protocol/disco#items",
    "http://jabber.org/protocol/muc",
)
EXODUS = Info((("client", "pc", "", "Exodus 0.9.1"),), _BASE)


# ---------------------------------------------------------------- XEP-0115, its two examples
def test_the_hash_of_the_simple_example() -> None:
    assert EXODUS.hash("sha-1") == "QgayPKawpkPSDYmwT/WM94uAlu0="


def test_the_hash_of_the_complex_example() -> None:
    fields = {
        "ip_version": ("ipv4", "ipv6"),
        "os": ("Mac",),
        "os_version": ("10.5.1",),
        "software": ("Psi",),
        "software_version": ("0.11",),
    }
    form = Form("urn:xmpp:dataforms:softwareinfo", tuple(fields.items()))
    psi = Info((("client", "pc", "en", "Psi 0.11"), ("client", "pc", "el", "Ψ 0.11")), _BASE, (form,))
    assert psi.hash("sha-1") == "q07IKJEyjvHSyhy//CH0CxmKi8w="
    assert read_info(peek(psi.payload(None)).element).hash("sha-1") == psi.hash("sha-1")


# ---------------------------------------------------------------- peers
class Site:
    """A Disco, and what it does and says."""

    def __init__(self) -> None:
        self.acted: list[Action] = []
        self.heard: list[tuple[str, Ability]] = []
        self.disco = Disco(self.acted.extend, self._hear)
        self.disco.begun(ALICE_FULL)

    def _hear(self, able: Able) -> None:
        self.heard.append((able.jid, able.ability))

    def server(self, stanza: str) -> Sequence[Action] | None:
        return self.disco.from_server(peek(stanza.encode()), stanza.encode())

    def client(self, stanza: str) -> Sequence[Action] | None:
        return self.disco.from_client(peek(stanza.encode()), stanza.encode())

    def presence(self, jid: str, info: Info | None = None, ver: str | None = None) -> None:
        ver = ver or (info.hash("sha-1") if info else "")
        caps = f"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:x' ver='{ver}'/>" if ver else ""
        self.server(f"<presence from='{jid}' to='{ALICE_FULL}'>{caps}</presence>")

    def answer(self, jid: str, info: Info) -> None:
        """Answer the newest question."""
        asked = peek(self.acted[-1].octets)
        payload = info.payload(None).decode()
        self.server(f"<iq type='result' from='{jid}' to='{ALICE_FULL}' id='{asked.id}'>{payload}</iq>")


ABLE = EXODUS.with_features(FEATURES)


async def test_a_new_client_is_asked_once_and_others_with_its_hash_are_not() -> None:
    site = Site()
    site.presence(BOB_FULL, ABLE)
    site.answer(BOB_FULL, ABLE)
    site.presence("carol@far.example/gate", ABLE)
    assert site.heard == [
        (BOB_FULL, Ability.ASKING),
        (BOB_FULL, Ability.YES),
        ("carol@far.example/gate", Ability.YES),
    ]
    assert len(site.acted) == 1


async def test_an_answer_that_does_not_fit_its_hash_is_believed_for_nobody_else() -> None:
    site = Site()
    site.presence("mallory@far.example/x", ver=ABLE.hash("sha-1"))
    site.answer("mallory@far.example/x", EXODUS)
    site.presence(BOB_FULL, ABLE)
    assert site.heard[-1] == (BOB_FULL, Ability.ASKING)


@pytest.mark.parametrize("split", range(1, len(ABLE.features)))
async def test_an_answer_whose_hash_is_that_of_another_makes_nobody_else_look_unable(split: int) -> None:
    """The verification string can be divided in other ways: XEP-0115 does not say where its parts end."""
    glued = Info(ABLE.identities, (*ABLE.features[:split], "<".join(ABLE.features[split:])))
    kind, *fields = ABLE.features[split:]
    formed = Info(
        ABLE.identities, ABLE.features[:split], (Form(kind, ((fields[0], tuple(fields[1:])),)),) if fields else ()
    )
    for forged in (glued, formed):
        site = Site()
        site.presence("mallory@far.example/x", ver=ABLE.hash("sha-1"))
        site.answer("mallory@far.example/x", forged)
        site.presence(BOB_FULL, ABLE)
        assert site.heard[-1] in ((BOB_FULL, Ability.ASKING), (BOB_FULL, Ability.YES))


async def test_strangers_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("companion.disco.PEERS", 10)
    site = Site()
    site.presence(BOB_FULL)
    site.answer(BOB_FULL, ABLE)
    for number in range(50):
        site.presence(f"mallory@far.example/{number}")
        site.answer(f"mallory@far.example/{number}", EXODUS)
    assert len(site.disco._abilities) <= 11
    assert site.disco.able(BOB_FULL)
    site.presence("carol@far.example/x")
    assert site.heard[-1] == ("carol@far.example/x", Ability.ASKING)


async def test_nobody_answers_for_another() -> None:
    site = Site()
    site.presence(BOB_FULL)
    site.answer("mallory@far.example/x", EXODUS)
    assert site.heard == [(BOB_FULL, Ability.ASKING)]


async def test_who_goes_is_gone() -> None:
    site = Site()
    site.presence(BOB_FULL)
    site.answer(BOB_FULL, ABLE)
    site.server(f"<presence from='{BOB_FULL}' type='unavailable'/>")
    assert site.heard[-1] == (BOB_FULL, Ability.GONE)


# ---------------------------------------------------------------- ourselves
async def test_the_clients_presence_announces_both_and_questions_for_it_are_answered() -> None:
    site = Site()
    ver = EXODUS.hash("sha-1")
    caps = f"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:exodus' ver='{ver}'/>"
    asked = site.client(f"<presence>{caps}<priority>5</priority></presence>")
    assert asked is not None
    assert isinstance(asked[0], ToClient)
    question = peek(asked[0].octets)
    payload = EXODUS.payload(f"urn:exodus#{ver}").decode()
    told = site.client(f"<iq type='result' to='{LOCAL}/lockgate' id='{question.id}'>{payload}</iq>")
    assert told is not None
    announced = peek(told[0].octets).child("http://jabber.org/protocol/caps", "c")
    assert announced is not None
    assert (announced.get("node"), announced.get("ver")) == (NODE, ABLE.hash("sha-1"))
    assert b"priority" in told[0].octets
    answer = site.server(
        f"<iq type='get' from='{BOB_FULL}' to='{ALICE_FULL}' id='q'>"
        f"<query xmlns='{INFO}' node='{NODE}#{ABLE.hash('sha-1')}'/></iq>"
    )
    assert answer is not None
    assert isinstance(answer[0], ToServer)
    query = peek(answer[0].octets).child(INFO, "query")
    assert query is not None
    assert read_info(query).hash("sha-1") == ABLE.hash("sha-1")


async def test_a_client_that_does_not_say_what_it_is_still_becomes_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("companion.disco.CLIENT_WITHIN_S", 0.01)
    site = Site()
    caps = "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:exodus' ver='x='/>"
    site.client(f"<presence>{caps}</presence>")
    await asyncio.sleep(0.05)
    assert [peek(action.octets).name for action in site.acted] == ["presence"]


# ---------------------------------------------------------------- the local contact
def test_it_is_put_into_the_roster_after_the_roster() -> None:
    local = LocalContact()
    local.begun(ALICE_FULL)
    ask = b"<iq type='get' id='r1'><query xmlns='jabber:iq:roster'/></iq>"
    assert local.from_client(peek(ask), ask) is None
    push, presence = local.from_server(peek(b"<iq type='result' id='r1'><query xmlns='jabber:iq:roster'/></iq>"))
    assert b"lockgate.local" in push.octets
    assert peek(push.octets).type == "set"
    assert peek(presence.octets).name == "presence"
    confirmed = f"<iq type='result' id='{peek(push.octets).id}'/>".encode()
    assert local.from_client(peek(confirmed), confirmed) == []


@pytest.mark.parametrize(
    "stanza",
    [
        "<presence to='lockgate.local' type='subscribe'/>",
        "<presence to='lockgate.local' type='unavailable'/>",
        "<iq type='get' id='1' to='lockgate.local/lockgate'><ping xmlns='urn:xmpp:ping'/></iq>",
        "<iq type='get' id='1' to='LOCKGATE.local'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
        "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='lockgate.local'/></query></iq>",
    ],
)
def test_nothing_about_it_reaches_the_server(stanza: str) -> None:
    local = LocalContact()
    local.begun(ALICE_FULL)
    actions = local.from_client(peek(stanza.encode()), stanza.encode())
    assert actions is not None
    assert not any(isinstance(action, ToServer) for action in actions)


def test_what_is_written_again_reads_the_same() -> None:
    inner = "<a:x>&lt;&amp; é</a:x>tail<y xmlns=''/>"
    text = f"<message to='a@b' a:n=\"q'&quot;&#10;\" xmlns:a='urn:a' xml:lang='de'>{inner}</message>"
    once = written(peek(text.encode()).element)
    assert written(peek(once.encode()).element) == once
    with pytest.raises(Unreadable):
        peek(b"<message/><message/>")


# ---------------------------------------------------------------- the configuration
def test_mistakes_are_named_with_their_path_and_line(tmp_path: Path) -> None:
    file = tmp_path / "companion.yaml"
    file.write_text("jid: not an address\npassword_file: p\nlisten: 0.0.0.0:5222\nserver: {hots: x}\nlockdown: maybe\n")
    with pytest.raises(ConfigError) as raised:
        load_companion(file)
    found = {(problem.where, problem.line) for problem in raised.value.problems}
    assert found == {("jid", 1), ("listen", 3), ("server.hots", 4), ("lockdown", 5)}


def test_the_address_and_the_password_have_to_be_given(tmp_path: Path) -> None:
    file = tmp_path / "companion.yaml"
    file.write_text("listen: 127.0.0.1:0\n")
    with pytest.raises(ConfigError) as raised:
        load_companion(file)
    assert {problem.where for problem in raised.value.problems} == {"jid", "password_file"}


def test_options_are_a_configuration(tmp_path: Path) -> None:
    config = from_options("Alice@Example.org", str(tmp_path / "p"), "127.0.0.1:6000", str(tmp_path / "kept"))
    assert (config.jid, config.port, config.place) == ("alice@example.org", 6000, tmp_path / "kept")
