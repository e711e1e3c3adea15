"""The XMPP inside half and offline ESessions: options of contacts, stanzas sealed to them, a user who is away."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import msgspec
import pytest

from adapters.inside_api import AccountPolicy
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_offline import (
    MAX_INCOMING,
    ROTATE_MS,
    Incoming,
    OfflinePolicy,
    Published,
    Received,
    has_offline,
    is_offline,
    offline_due_ms,
    receive_more,
    receive_offline,
    renew,
)
from adapters.xmpp.inside_offline_sending import (
    ANSWER_MS,
    ASK_AGAIN_MS,
    MAX_AT_ONCE,
    UserOptions,
    options_arrived,
    send_offline,
    sending_due_ms,
    user_came,
)
from adapters.xmpp.inside_queue import enqueue
from adapters.xmpp.inside_stanzas import read_stanza
from adapters.xmpp.names import ERROR, jid_of
from adapters.xmpp.outside_fetch import offline_stanza
from adapters.xmpp.pep.names import (
    FETCH,
    OFFLINE,
    OPTIONS,
    OPTIONS_SUBSCRIBERS,
    PEP_REQUESTS,
    PUBKEY,
    PUBLISH,
    RETRACT,
    Items,
)
from bridge.wire.values import Address, Code, Opaque, Public, Value
from crypto.esession.key_values import SignAlgorithm
from crypto.esession.offline_content import sealed
from crypto.esession.offline_options import Audience, read_options
from crypto.esession.offline_pubkeys import read_pubkey
from crypto.esession.offline_publishing import LIFETIME_MS, MAX_USES, Shelf
from crypto.esession.offline_sending import Begun
from crypto.esession.payloads import termination
from crypto.message import Message
from crypto.xml import Element, parse, serialize
from tests.unit.esession_keys import ed25519, rsa
from tests.unit.fake_step import Carried, MemoryRecords, MemoryStep
from tests.unit.offline_world import FAST, NOW, Publisher, Sender
from tests.unit.xmpp_site import ALICE, BOB, contact

DESK = f"{ALICE}/desk"
RESOURCE = f"{BOB}/lockgate"


def sealable(records: MemoryRecords) -> None:
    """Every record of ours goes through the codec of sealed records."""
    for name, value in list(records.held.items()):
        if isinstance(value, Shelf | Published | Incoming | UserOptions):
            records.held[name] = msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=type(value))
            assert records.held[name] == value


@dataclass
class Table:
    """Bob's contact and Alice's client. Each call is a step."""

    policy: OfflinePolicy = field(
        default_factory=lambda: OfflinePolicy(ed25519("contact-bob"), (ed25519("alice").public,), FAST)
    )
    step: MemoryStep = field(init=False)

    def __post_init__(self) -> None:
        account = AccountPolicy("alice", "xmpp", ALICE, {"matrix": "@alice:x"}, (contact(), contact(id_="carol")))
        self.step = MemoryStep(account, MemoryRecords(), now=NOW)

    def leg(self, id_: str = "bob") -> LegStep:
        """The leg as the next step sees it."""
        sealable(self.step.records)
        found = self.step.account.contact_by_id(id_)
        assert found is not None
        return LegStep(self.step, found)

    def renew(self, *, resumed: bool = True, policy: OfflinePolicy | None = None) -> None:
        """A start or a wake."""
        at = self.leg()
        renew(at, policy or self.policy, resumed=resumed)
        at.finish()

    def sent(self, *requests: str) -> list[Carried]:
        """The requests of these names; each fits its shape."""
        for one in self.step.carries:
            assert one.request not in PEP_REQUESTS or PEP_REQUESTS[one.request].fits(one.values)
        keys = {Code(v=PUBKEY)}
        return [c for c in self.step.carries if c.request in requests and c.values.get("node") not in keys]

    def options(self) -> Element:
        """What the contact published last."""
        content = self.sent(PUBLISH)[-1].values["content"]
        assert isinstance(content, Public)
        return parse(content.v)

    def receive(self, stanza: Element, peer: str = DESK) -> Received | None:
        """A stanza that begins an offline session."""
        assert is_offline(stanza)
        at = self.leg()
        found = receive_offline(at, stanza, peer, self.policy)
        at.finish()
        return found

    def more(self, stanza: Element, peer: str = DESK) -> Received | None:
        """A further one."""
        at = self.leg()
        found = receive_more(at, stanza, peer)
        at.finish()
        return found

    def message(self, body: str, id_: str) -> None:
        """Bob writes on the far network."""
        at = self.leg()
        enqueue(at, Message(id=id_, body=body, position=7))
        send_offline(at, self.policy)
        at.finish()

    def send(self) -> bool:
        """Nobody is there."""
        at = self.leg()
        done = send_offline(at, self.policy)
        at.finish()
        return done

    def arrive(self, node: str, *forms: Element, found: bool = True, jid: str = RESOURCE) -> None:
        """What a node of Alice's holds."""
        items = tuple(serialize(form).decode() for form in forms)
        options_arrived(self.step, Items(jid, node, found, items).encode(), lambda _: self.policy)

    def errors(self) -> list[str]:
        """Codes of the errors that Alice's client got."""
        return [code.v for c in self.sent(ERROR) if isinstance(code := c.values["code"], Code)]

    @property
    def reports(self) -> list[str]:
        """What was counted."""
        return [code for code, _ in self.step.reports]


def alice_writes(identity: str = "alice") -> Sender:
    """Alice's client as a sender."""
    return Sender(identity=ed25519(identity), known=(ed25519("contact-bob").public,))


def write(
    table: Table, *, once: bool = True, sender: Sender | None = None, thread: str = "t1"
) -> tuple[Element, Begun]:
    """A stanza of Alice's client, sealed to what Bob's contact published."""
    alice = sender or alice_writes()
    options = read_options(table.options())
    assert options.publisher == BOB
    form = table.options()
    begun = _write(alice, form, table.step.now, once=once)
    return as_arrived(begun.init + begun.content, thread), begun


def _write(sender: Sender, form: Element, now_ms: int, *, once: bool) -> Begun:
    from crypto.esession.offline_sending import begin, choose

    options = sender.judged(form, now_ms=now_ms, publisher=BOB)
    chosen = choose(options, sender.offer, sender.identity.public)
    body = b'<body>Hello, Bob!</body><origin-id xmlns="urn:xmpp:sid:0" id="o1"/>'
    return begin(options, chosen, sender.identity, body, sender.dice, now_ms=now_ms, once=once)


def as_arrived(payload: bytes, thread: str = "t1", to: str = RESOURCE) -> Element:
    """The stanza as the component's server writes it."""
    head = f"<message from='{DESK}' to='{to}' id='x1' type='chat'><thread>{thread}</thread>"
    return read_stanza(head.encode() + payload + b"</message>")


def bodies(found: Received | None) -> list[str]:
    return [e.text for e in found.content if e.name == "body"] if found else []


# ---------------------------------------------------------------- publishing
def test_a_contact_publishes_options_signed_with_its_own_key() -> None:
    table = Table()
    table.renew()
    (published,) = table.sent(PUBLISH)
    assert published.values["from"] == Address(v=BOB)
    assert published.values["node"] == Code(v=OPTIONS)
    assert alice_writes().judged(table.options(), publisher=BOB)
    table.renew()
    assert len(table.sent(PUBLISH)) == 1


def test_options_are_renewed_each_day_and_the_old_ones_destroyed_when_they_expire() -> None:
    table = Table()
    table.renew()
    early, _ = write(table)
    table.step.now = NOW + ROTATE_MS
    assert offline_due_ms(table.leg()) == NOW + ROTATE_MS
    table.renew()
    assert len(table.sent(PUBLISH)) == 2
    assert bodies(table.receive(early)) == ["Hello, Bob!"], "sealed to the set before"
    late, _ = write(table)
    table.step.now = NOW + LIFETIME_MS
    table.renew()
    shelf = table.step.records.get("offline/bob", Shelf)
    assert shelf is not None
    assert all(s.expires_ms > table.step.now for s in shelf.sets)
    assert "offline-set-destroyed" in table.reports
    assert bodies(table.receive(late)) == ["Hello, Bob!"]


def test_a_stanza_that_comes_after_its_options_were_destroyed_is_refused_and_its_sender_told() -> None:
    table = Table()
    table.renew()
    stanza, _ = write(table)
    table.step.now = NOW + LIFETIME_MS
    table.renew()
    assert table.receive(stanza) is None
    assert table.errors() == ["unreadable"]
    assert "offline-unknown-options" in table.reports


def test_after_a_restart_that_may_have_lost_state_no_earlier_set_is_used() -> None:
    table = Table()
    table.renew()
    stanza, _ = write(table)
    assert bodies(table.receive(stanza)) == ["Hello, Bob!"]
    table.step.records.held["offline/bob"] = replace(
        shelf_of(table), sets=tuple(replace(s, used=b"") for s in shelf_of(table).sets)
    )
    table.renew(resumed=False)
    assert len(table.sent(PUBLISH)) == 2
    assert table.receive(stanza) is None, "a ledger that was put back does not make it new again"


def shelf_of(table: Table) -> Shelf:
    shelf = table.step.records.get("offline/bob", Shelf)
    assert shelf is not None
    return shelf


def test_a_set_that_has_served_long_is_replaced() -> None:
    table = Table()
    table.renew()
    used = bytes(32 * (MAX_USES // 2))
    table.step.records.put("offline/bob", Shelf((replace(shelf_of(table).sets[0], used=used),)))
    table.renew()
    assert len(table.sent(PUBLISH)) == 2


@pytest.mark.parametrize("change", [{"publishes": False}, {"identity": None}, {"trusted": ()}])
def test_where_offline_sessions_are_not_wanted_nothing_is_published_and_what_was_is_withdrawn(
    change: dict[str, object],
) -> None:
    table = Table()
    off = replace(table.policy, **change)  # type: ignore[arg-type]
    table.renew(policy=off)
    assert not table.step.carries
    table.renew()
    stanza, _ = write(table)
    table.renew(policy=off)
    assert [c.request for c in table.sent(PUBLISH, RETRACT)] == [PUBLISH, RETRACT]
    assert table.step.records.get("offline/bob", Shelf) is None
    assert table.receive(stanza) is None


def test_another_key_of_the_contact_means_other_options() -> None:
    table = Table()
    table.renew()
    table.policy = replace(table.policy, identity=ed25519("contact-bob-2"))
    table.renew()
    assert len(table.sent(PUBLISH)) == 2


def test_a_contact_publishes_the_key_that_its_options_are_signed_with() -> None:
    table = Table()
    table.renew()
    (key,) = (c for c in table.step.carries if c.values["node"] == Code(v=PUBKEY))
    content = key.values["content"]
    assert isinstance(content, Public)
    assert read_pubkey(parse(content.v), jid=BOB, now_ms=NOW) == ed25519("contact-bob").public


# ---------------------------------------------------------------- receiving
def test_what_the_users_client_sealed_while_it_took_the_contact_to_be_away_is_read() -> None:
    table = Table()
    table.renew()
    stanza, _ = write(table)
    found = table.receive(stanza)
    assert bodies(found) == ["Hello, Bob!"]
    assert found is not None
    assert found.thread == "t1"
    assert not table.sent(ERROR)


def test_a_repetition_is_dropped_without_a_word() -> None:
    table = Table()
    table.renew()
    stanza, _ = write(table)
    table.receive(stanza)
    assert table.receive(stanza) is None
    assert not table.errors()
    assert "offline-replayed" in table.reports


def test_a_stanza_of_a_key_that_is_not_the_users_is_refused() -> None:
    table = Table()
    table.renew()
    stanza, _ = write(table, sender=alice_writes("mallory"))
    assert table.receive(stanza) is None
    assert table.errors() == ["not-verified"]
    assert "offline-key-unknown" in table.reports


def test_what_was_sealed_to_one_contact_is_not_taken_by_another() -> None:
    table = Table()
    table.renew()
    stanza, _ = write(table)
    at = table.leg("carol")
    renew(at, replace(table.policy, identity=ed25519("contact-carol")))
    assert receive_offline(at, stanza, DESK, table.policy) is None
    assert "offline-unknown-options" in table.reports


def test_a_session_goes_on_with_the_resource_that_began_it_until_it_ends() -> None:
    table = Table()
    table.renew()
    stanza, begun = write(table, once=False)
    table.receive(stanza)
    assert has_offline(table.leg(), "t1")
    assert begun.way is not None
    way, second = sealed(begun.way, b"<body>second</body>")
    assert table.more(as_arrived(second), peer=f"{ALICE}/other") is None
    assert bodies(table.more(as_arrived(second))) == ["second"]
    assert table.more(as_arrived(second)) is None, "once"
    _, last = sealed(way, termination())
    assert table.more(as_arrived(last)) is not None
    assert not has_offline(table.leg(), "t1")
    assert table.more(as_arrived(last)) is None


def test_a_further_stanza_that_does_not_fit_ends_the_session() -> None:
    table = Table()
    table.renew()
    stanza, begun = write(table, once=False)
    table.receive(stanza)
    assert begun.way is not None
    way, _ = sealed(begun.way, b"<body>lost</body>")
    assert table.more(as_arrived(sealed(way, b"<body>third</body>")[1])) is None
    assert not has_offline(table.leg(), "t1")
    assert table.errors() == ["unreadable"]


def test_few_sessions_are_kept_open_and_none_after_its_time_or_a_doubtful_restart() -> None:
    table = Table()
    table.renew()
    alice = alice_writes()
    for number in range(MAX_INCOMING + 2):
        table.receive(write(table, once=False, sender=alice, thread=f"t{number}")[0])
    assert _incoming(table.step.records) == [f"offline-in/bob/t{n}" for n in range(2, MAX_INCOMING + 2)]
    table.renew(resumed=False)
    assert not _incoming(table.step.records)
    table.receive(write(table, once=False)[0])
    table.step.now += LIFETIME_MS
    table.renew()
    assert not _incoming(table.step.records)


def _incoming(records: MemoryRecords) -> list[str]:
    names: Iterable[str] = records.names("offline-in/")
    return list(names)


# ---------------------------------------------------------------- sending
def away(*, match: bool = False, audience: Audience = Audience.SUBSCRIBERS) -> tuple[Publisher, Element]:
    """Alice publishes and goes."""
    alice = Publisher(resource="desk")
    return alice, alice.publish(FAST, match=match, audience=audience)


def opened_by(alice: Publisher, carried: Carried) -> tuple[str, Element]:
    """The text, as Alice reads it when she is back, and the stanza."""
    values: dict[str, Value] = dict(carried.values)
    stanza = read_stanza(offline_stanza(values))
    content = alice.take(stanza, resource="desk").content
    return next(e.text for e in content if e.name == "body"), stanza


def test_a_message_for_a_user_who_is_away_is_sealed_to_the_users_options() -> None:
    table = Table()
    alice, form = away()
    table.message("are you there?", "$1")
    (asked,) = table.sent(FETCH)
    assert (asked.values["node"], asked.values["to"]) == (Code(v=OPTIONS_SUBSCRIBERS), Address(v=ALICE))
    table.arrive(OPTIONS_SUBSCRIBERS, form)
    (sent,) = table.sent(OFFLINE)
    assert sent.values["to"] == Address(v=ALICE)
    assert "kind" not in sent.values
    text, stanza = opened_by(alice, sent)
    assert text == "are you there?"
    assert alice.shelf.sets[0].used
    assert stanza.child("urn:xmpp:hints", "store") is not None
    assert b"are you there?" not in repr(table.step.carries).encode()


def test_a_message_that_was_sent_stays_in_the_queue_and_is_not_sent_offline_twice() -> None:
    table = Table()
    alice, form = away()
    table.message("one", "$1")
    table.arrive(OPTIONS_SUBSCRIBERS, form)
    table.message("two", "$2")
    assert not table.send()
    texts = [opened_by(alice, one)[0] for one in table.sent(OFFLINE)]
    assert texts == ["one", "two"]
    assert table.leg().line.waiting == 2
    assert not table.step.done
    ids = [one.values["id"] for one in table.sent(OFFLINE)]
    assert len(set(map(repr, ids))) == 2
    assert all(isinstance(i, Opaque) and i.v.startswith("m-") for i in ids)


def test_options_for_everybody_are_asked_for_when_there_are_none_for_subscribers() -> None:
    table = Table()
    alice, form = away(audience=Audience.EVERYONE)
    table.message("one", "$1")
    table.arrive(OPTIONS_SUBSCRIBERS, found=False)
    assert [c.values["node"] for c in table.sent(FETCH)] == [Code(v=OPTIONS_SUBSCRIBERS), Code(v=OPTIONS)]
    table.arrive(OPTIONS, form)
    assert opened_by(alice, table.sent(OFFLINE)[0])[0] == "one"


def test_a_resource_that_the_options_name_is_the_only_one_that_gets_the_stanza() -> None:
    table = Table()
    alice, form = away(match=True)
    table.message("one", "$1")
    table.arrive(OPTIONS_SUBSCRIBERS, form)
    (sent,) = table.sent(OFFLINE)
    to = sent.values["to"]
    assert isinstance(to, Address)
    assert jid_of(to) == DESK
    assert sent.values["kind"] == Code(v="exact")
    _, stanza = opened_by(alice, sent)
    amp = stanza.child("http://jabber.org/protocol/amp", "amp")
    assert amp is not None
    assert dict(amp.elements[0].attributes) == {"action": "error", "condition": "match-resource", "value": "exact"}


@pytest.mark.parametrize("fault", ["expired", "unsigned", "another", "malformed", "no-choice"])
def test_options_that_may_not_be_used_are_not_used(fault: str) -> None:
    table = Table()
    alice = Publisher(identity=ed25519("mallory" if fault == "unsigned" else "alice"))
    jid = "carol@example.org" if fault == "another" else ALICE
    offer = replace(FAST, ciphers=("aes192-ctr",)) if fault == "no-choice" else FAST
    form = alice.publish(offer, jid=jid, now_ms=NOW - LIFETIME_MS if fault == "expired" else NOW)
    if fault == "malformed":
        form = replace(form, children=form.children[:5])
    table.message("secret words", "$1")
    table.arrive(OPTIONS_SUBSCRIBERS, form)
    table.arrive(OPTIONS, form)
    assert not table.sent(OFFLINE)
    assert "offline-options-none" in table.reports
    assert table.leg().line.waiting == 1


def test_what_was_not_asked_for_is_not_looked_at() -> None:
    table = Table()
    _, form = away()
    table.arrive(OPTIONS, form)
    table.arrive(OPTIONS, form, jid="nobody@matrix.example.org/lockgate")
    options_arrived(table.step, b"{}", lambda _: table.policy)
    assert table.reports == ["pep-items-unasked", "pep-items-malformed", "pep-items-malformed"]
    assert not table.step.carries


def test_options_are_asked_for_again_only_after_a_while() -> None:
    table = Table()
    table.message("one", "$1")
    table.send()
    assert len(table.sent(FETCH)) == 1
    assert sending_due_ms(table.leg()) == table.step.now + ANSWER_MS
    table.step.now += ANSWER_MS
    assert sending_due_ms(table.leg()) == 0, "a time that has come is not waited for again"
    table.send()
    table.arrive(OPTIONS_SUBSCRIBERS)
    table.arrive(OPTIONS, found=False)
    asked = len(table.sent(FETCH))
    assert not table.send()
    table.step.now += ASK_AGAIN_MS
    table.send()
    assert len(table.sent(FETCH)) == asked + 1


def test_a_backlog_is_sealed_in_portions() -> None:
    table = Table()
    alice, form = away()
    for number in range(MAX_AT_ONCE + 3):
        table.message(f"text {number}", f"${number}")
    table.arrive(OPTIONS_SUBSCRIBERS, form)
    assert len(table.sent(OFFLINE)) == MAX_AT_ONCE
    assert sending_due_ms(table.leg()) > table.step.now
    assert table.send()
    assert [opened_by(alice, one)[0] for one in table.sent(OFFLINE)] == [f"text {n}" for n in range(MAX_AT_ONCE + 3)]
    assert sending_due_ms(table.leg()) == 0


def test_options_of_an_absence_that_is_over_are_never_used_again() -> None:
    table = Table()
    _, form = away()
    table.message("one", "$1")
    table.arrive(OPTIONS_SUBSCRIBERS, form)
    at = table.leg()
    user_came(at)
    at.finish()
    table.message("two", "$2")
    table.arrive(OPTIONS_SUBSCRIBERS, form)
    table.arrive(OPTIONS)
    assert len(table.sent(OFFLINE)) == 1
    assert "offline-options-spent" in table.reports
    user_came(table.leg("carol"))


def test_a_contact_with_two_keys_signs_with_both_and_sends_with_the_one_that_is_understood() -> None:
    table = Table()
    table.policy = replace(table.policy, others=(rsa("contact-bob"),))
    table.renew()
    for key in (ed25519("contact-bob"), rsa("contact-bob")):
        assert Sender(known=(key.public,)).judged(table.options(), publisher=BOB)
    alice = Publisher()
    form = alice.publish(replace(FAST, signatures=(SignAlgorithm.RSA.value,)))
    table.message("one", "$1")
    table.arrive(OPTIONS_SUBSCRIBERS, form)
    stanza = read_stanza(offline_stanza(dict(table.sent(OFFLINE)[0].values)))
    assert alice.introduced(stanza).identity == rsa("contact-bob").public


@pytest.mark.parametrize("change", [{"sends": False}, {"identity": None}, {"trusted": ()}])
def test_nothing_is_asked_for_where_nothing_may_be_sent(change: dict[str, object]) -> None:
    table = Table()
    table.policy = replace(table.policy, **change)  # type: ignore[arg-type]
    table.message("one", "$1")
    assert not table.send()
    assert not table.step.carries
    assert sending_due_ms(table.leg()) == 0
