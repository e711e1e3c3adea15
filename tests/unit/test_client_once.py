"""One message sealed, sent and over in three stanzas: to a contact's end that does what it should, and to others."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from client.keyring import Keyring, new_keyring, opened
from client.once import Once, Stage, Trust
from client.stanzas import NS_STANZA_ENCRYPTION, Stanza, read_content, receipt_content
from client.store import StoreUnusable
from crypto.esession import conversation as esession
from crypto.esession.conversation import Conversation, Event, Outcome
from crypto.esession.identities import Identity, new_ed25519
from crypto.esession.retained import Retained
from crypto.esession.terms import Terms
from crypto.xml import Element, parse

ALICE, BOB = "alice@example.org/shell", "bob@matrix.example.org/lockgate"


def draw(_: str, size: int) -> bytes:
    return os.urandom(size)


def element(stanza: Stanza, sender: str) -> Element:
    octets = stanza.octets().replace(b"<message ", b'<message xmlns="jabber:client" from="%b" ' % sender.encode(), 1)
    return parse(octets, max_octets=1 << 20)


@dataclass
class Bob:
    """The contact's end: answers negotiations of three messages."""

    identity: Identity = field(default_factory=lambda: new_ed25519(os.urandom(32)))
    three_message: bool = True
    talks: dict[str, Conversation] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)

    @property
    def terms(self) -> Terms:
        return Terms(
            disclosure=("never", "enabled"),
            identity=self.identity,
            own_keys=("key", "none"),
            peer_keys=("key", "none"),
            three_message=self.three_message,
        )

    def received(self, stanza: Element) -> list[Stanza]:
        thread = esession.thread_of(stanza) or ""
        outcome = esession.receive(self.talks.get(thread), stanza, terms=self.terms, retained=Retained(), draw=draw)
        if outcome.event is Event.CONTENT_ONCE:
            self.texts.append(read_content(outcome.content).body or "")
        return self.took(thread, outcome)

    def took(self, thread: str, outcome: Outcome) -> list[Stanza]:
        if outcome.conversation is not None:
            self.talks[thread] = outcome.conversation
        kinds = {"negotiation": None, "encrypted": "chat", "error": "error"}
        return [Stanza(ALICE, kinds[str(r.kind)], "b1", thread, r.payload) for r in outcome.replies]

    def answer(self, content: bytes, thread: str = "back") -> list[Stanza]:
        return self.took(thread, esession.initiate(thread, self.terms, draw, once=content))


IDENTITIES = new_keyring(draw).identities


def some_keyring() -> Keyring:
    """Making an RSA key for each test would take seconds."""
    return Keyring(IDENTITIES)


@dataclass
class Table:
    """Both ends, and what went over the table."""

    bob: Bob = field(default_factory=Bob)
    keyring: Keyring = field(default_factory=some_keyring)
    crossed: list[Stanza] = field(default_factory=list)

    def once(self, **settings: object) -> Once:
        return Once(BOB, "m1", "t1", self.keyring, draw, **settings)  # type: ignore[arg-type]

    def exchange(self, once: Once, out: list[Stanza]) -> None:
        while out:
            self.crossed += out
            back = [s for stanza in out for s in self.bob.received(element(stanza, ALICE))]
            self.crossed += back
            out = [s for stanza in back for s in once.received(element(stanza, BOB))]

    def sent(self, text: str = "hello", **settings: object) -> Once:
        once = self.once(**settings)
        self.exchange(once, once.begin(text))
        return once


def test_three_stanzas_carry_a_message_and_nothing_is_left_at_either_end() -> None:
    table = Table()
    once = table.sent("🦊 hello")
    assert once.stage is Stage.SENT
    assert table.bob.texts == ["🦊 hello"]
    assert len(table.crossed) == 3
    assert [stanza.id for stanza in table.crossed if stanza.to == BOB] == ["m1", "m1"]
    assert not any(b"hello" in stanza.payload for stanza in table.crossed)
    assert NS_STANZA_ENCRYPTION.encode() in table.crossed[-1].payload


def test_a_first_key_is_kept_and_the_same_is_known_afterwards() -> None:
    table = Table()
    assert table.sent().trust is Trust.FIRST
    assert table.sent().trust is Trust.KNOWN


def test_nothing_is_sent_to_another_key_than_the_one_before() -> None:
    table = Table()
    table.sent()
    table.bob = Bob()
    once = table.sent("secret")
    assert (once.stage, once.trust) == (Stage.REFUSED, Trust.CHANGED)
    assert once.key == table.bob.identity.public
    assert table.bob.texts == []


def test_a_key_that_is_named_is_taken_in_place_of_the_former_and_no_other_is() -> None:
    table = Table()
    table.sent()
    table.bob = Bob()
    wrong = table.sent(pinned="00" * 32)
    assert (wrong.stage, wrong.trust) == (Stage.REFUSED, Trust.OTHER)
    named = table.sent(pinned=table.bob.identity.public.fingerprint().hex())
    assert (named.stage, named.trust) == (Stage.SENT, Trust.PINNED)
    assert table.sent().trust is Trust.KNOWN


def test_only_known_keys_means_no_first_one() -> None:
    table = Table()
    once = table.sent(known_only=True)
    assert (once.stage, once.trust) == (Stage.REFUSED, Trust.UNKNOWN)
    assert table.bob.texts == []


def test_an_end_that_takes_no_single_messages_is_told_apart() -> None:
    table = Table(Bob(three_message=False))
    once = table.sent()
    assert once.stage is Stage.REFUSED
    assert once.condition == "feature-not-implemented"


def test_a_receipt_sealed_by_the_same_key_acknowledges() -> None:
    table = Table()
    once = table.sent()
    table.exchange(once, once.received(element(table.bob.answer(receipt_content("m1"))[0], BOB)))
    assert once.stage is Stage.ACKNOWLEDGED


def test_a_receipt_sealed_by_another_key_does_not() -> None:
    table = Table()
    once = table.sent()
    table.bob = Bob()
    table.exchange(once, once.received(element(table.bob.answer(receipt_content("m1"))[0], BOB)))
    assert once.stage is Stage.SENT


def test_a_plain_receipt_is_not_taken_for_a_sealed_one() -> None:
    table = Table()
    once = table.sent()
    for id_, stage in (("other", Stage.SENT), ("m1", Stage.RECEIPT_IN_PLAIN)):
        plain = Stanza(ALICE, "chat", "r1", "x", b'<received xmlns="urn:xmpp:receipts" id="%b"/>' % id_.encode())
        once.received(element(plain, BOB))
        assert once.stage is stage


@pytest.mark.parametrize(("id_", "thread"), [("m1", "elsewhere"), ("other", "t1")])
def test_an_error_stanza_for_it_is_a_refusal_before_and_after_it_was_sent(id_: str, thread: str) -> None:
    payload = (
        b'<error type="cancel"><policy-violation xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/>'
        b'<text xmlns="urn:ietf:params:xml:ns:xmpp-stanzas">no</text></error>'
    )
    for begun in (True, False):
        table = Table()
        once = table.once() if begun else table.sent()
        if begun:
            once.begin("hello")
        once.received(element(Stanza(ALICE, "error", id_, thread, payload), BOB))
        assert (once.stage, once.condition, once.sentence) == (Stage.REFUSED, "policy-violation", "no")


def test_negotiations_that_others_begin_are_answered_only_afterwards_and_few() -> None:
    table = Table()
    once = table.once()
    once.begin("hello")
    assert once.received(element(table.bob.answer(b"<x/>")[0], BOB)) == []
    once = table.sent()
    answered = [bool(once.received(element(table.bob.answer(b"<x/>", f"n{n}")[0], BOB))) for n in range(6)]
    assert answered.count(True) <= 4


# ---------------------------------------------------------------- the file
def test_a_keyring_is_kept_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "data" / "alice.keys"
    with opened(path, draw) as keyring:
        first = keyring.identities
        table = Table(keyring=keyring)
        table.sent()
    assert path.stat().st_mode & 0o777 == 0o600
    with opened(path, draw) as keyring:
        assert keyring.identities == first
        assert keyring.keys_of("bob@matrix.example.org") == (table.bob.identity.public,)
        with pytest.raises(StoreUnusable, match="in use"), opened(path, draw):
            pass


def test_a_keyring_that_others_can_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "alice.keys"
    path.write_bytes(b"words")
    path.chmod(0o600)
    with pytest.raises(StoreUnusable, match="not a keyring"), opened(path, draw):
        pass
    path.chmod(0o640)
    with pytest.raises(StoreUnusable, match="read by others"), opened(path, draw):
        pass
