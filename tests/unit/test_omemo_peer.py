"""OMEMO with devices of another make, both ways, in both forms: python-omemo with oldmemo and twomemo."""

import pytest

from crypto.omemo import conversation, device
from crypto.omemo.elements import read_message
from crypto.omemo.model import Peer as Address
from crypto.omemo.model import Recipient
from crypto.omemo.names import Namespace
from tests.unit.omemo_peer import Nodes, Peer
from tests.unit.omemo_world import NOW, End

ALICE = "alice@example.org"
BOB = "bob@matrix.example.org"
forms = pytest.mark.parametrize("form", list(Namespace), ids=lambda form: form.short)


def ours(nodes: Nodes) -> End:
    bob = End.make(BOB, 31415)
    publish(nodes, bob)
    return bob


def publish(nodes: Nodes, bob: End) -> None:
    for namespace in Namespace:
        nodes.announce(BOB, bob.bundle(namespace), bob.device_id)


def to(alice: Peer, form: Namespace, *, bundle: bool) -> Recipient:
    return Recipient(Address(form, alice.jid, alice.device_id), alice.bundle(form) if bundle else None)


@forms
async def test_a_client_begins_and_both_talk(form: Namespace) -> None:
    nodes = Nodes()
    bob, alice = ours(nodes), await Peer.make(nodes, ALICE)
    await alice.refresh(BOB)
    first = (await alice.encrypt(BOB, {form: b"hello"}))[form]
    opened = bob.hears(first, ALICE)
    assert (opened.plaintext, opened.new_session, opened.answer_due, opened.keys_used) == (b"hello", True, True, True)
    assert opened.identity_key == alice.bundle(form).identity_key
    assert device.maintained(bob.shelf, bob.dice, NOW) == (form,)
    for number in range(5):
        made = conversation.encrypted(bob.shelf, bob.dice, {form: b"%d" % number}, [to(alice, form, bundle=False)])
        assert await alice.decrypt(made.elements[form], BOB) == b"%d" % number
        back = (await alice.encrypt(BOB, {form: b"back %d" % number}))[form]
        assert not any(key.prekey for key in back.keys)
        assert bob.hears(back, ALICE).plaintext == b"back %d" % number


@forms
async def test_we_begin_and_both_talk(form: Namespace) -> None:
    nodes = Nodes()
    bob, alice = ours(nodes), await Peer.make(nodes, ALICE)
    await alice.refresh(BOB)
    for text in (b"one", b"two", b"three"):  # each brings the key exchange until she has answered
        made = conversation.encrypted(bob.shelf, bob.dice, {form: text}, [to(alice, form, bundle=True)])
        assert read_message(made.elements[form]).keys[0].prekey
        assert await alice.decrypt(made.elements[form], BOB) == text
    receiver, answer = alice.sent[0]
    assert receiver == BOB
    opened = bob.hears(read_message(answer), ALICE)
    assert (opened.plaintext, opened.answer_due) == (None, False)
    made = conversation.encrypted(bob.shelf, bob.dice, {form: b"four"}, [to(alice, form, bundle=False)])
    assert not read_message(made.elements[form]).keys[0].prekey
    assert await alice.decrypt(made.elements[form], BOB) == b"four"


@forms
async def test_an_empty_message_of_ours_ends_the_key_exchanges_of_a_client(form: Namespace) -> None:
    nodes = Nodes()
    bob, alice = ours(nodes), await Peer.make(nodes, ALICE)
    await alice.refresh(BOB)
    for text in (b"one", b"two"):
        message = (await alice.encrypt(BOB, {form: text}))[form]
        assert message.keys[0].prekey
        opened = bob.hears(message, ALICE)
        assert (opened.plaintext, opened.new_session) == (text, text == b"one")
    answer = conversation.empty(bob.shelf, bob.dice, Address(form, ALICE, alice.device_id))
    assert await alice.decrypt(answer, BOB) is None
    message = (await alice.encrypt(BOB, {form: b"three"}))[form]
    assert not message.keys[0].prekey
    assert bob.hears(message, ALICE).plaintext == b"three"


@forms
async def test_messages_that_were_skipped_come_in_any_order(form: Namespace) -> None:
    nodes = Nodes()
    bob, alice = ours(nodes), await Peer.make(nodes, ALICE)
    await alice.refresh(BOB)
    bob.hears((await alice.encrypt(BOB, {form: b"begin"}))[form], ALICE)
    late = [(await alice.encrypt(BOB, {form: b"%d" % n}))[form] for n in range(150)]
    assert bob.hears(late[-1], ALICE).plaintext == b"149"
    for n in (7, 148, 0, 100):
        assert bob.hears(late[n], ALICE).plaintext == b"%d" % n


@forms
async def test_the_heartbeat_of_a_client_is_understood_and_ours_is_due_when_its_is(form: Namespace) -> None:
    nodes = Nodes()
    bob, alice = ours(nodes), await Peer.make(nodes, ALICE)
    await alice.refresh(BOB)
    bob.hears((await alice.encrypt(BOB, {form: b"begin"}))[form], ALICE)
    due = [bob.hears((await alice.encrypt(BOB, {form: b"x"}))[form], ALICE).answer_due for _ in range(60)]
    assert due.count(True) == 1
    for _ in range(60):
        made = conversation.encrypted(bob.shelf, bob.dice, {form: b"y"}, [to(alice, form, bundle=False)])
        assert await alice.decrypt(made.elements[form], BOB) == b"y"
    for _, answer in alice.sent:
        assert bob.hears(read_message(answer), ALICE).plaintext is None


@forms
async def test_a_broken_session_is_healed(form: Namespace) -> None:
    nodes = Nodes()
    bob, alice = ours(nodes), await Peer.make(nodes, ALICE)
    await alice.refresh(BOB)
    bob.hears((await alice.encrypt(BOB, {form: b"begin"}))[form], ALICE)
    address = Address(form, ALICE, alice.device_id)
    conversation.forgotten(bob.shelf, address)
    answer = conversation.empty(bob.shelf, bob.dice, address, bundle=alice.bundle(form))
    assert await alice.decrypt(answer, BOB) is None
    assert bob.hears((await alice.encrypt(BOB, {form: b"again"}))[form], ALICE).plaintext == b"again"


async def test_one_message_reaches_two_clients_in_two_forms() -> None:
    nodes = Nodes()
    bob = ours(nodes)
    older = await Peer.make(nodes, ALICE, (Namespace.AXOLOTL,))
    newer = await Peer.make(nodes, ALICE, (Namespace.OMEMO_2,))
    for peer in (older, newer):
        for namespace in peer.manager._SessionManager__backends:  # type: ignore[attr-defined]
            await peer.manager.refresh_device_list(namespace.namespace, BOB)
    made = conversation.encrypted(
        bob.shelf,
        bob.dice,
        {Namespace.AXOLOTL: b"text", Namespace.OMEMO_2: b"envelope"},
        [to(older, Namespace.AXOLOTL, bundle=True), to(newer, Namespace.OMEMO_2, bundle=True)],
    )
    assert await older.decrypt(made.elements[Namespace.AXOLOTL], BOB) == b"text"
    assert await newer.decrypt(made.elements[Namespace.OMEMO_2], BOB) == b"envelope"


@forms
async def test_a_client_reads_our_bundle_and_list_and_keeps_our_identity_key(form: Namespace) -> None:
    nodes = Nodes()
    bob, alice = ours(nodes), await Peer.make(nodes, ALICE)
    await alice.refresh(BOB)
    (info,) = await alice.manager.get_device_information(BOB)
    assert info.device_id == bob.device_id
    assert bob.bundle(form).signing_key == info.identity_key
    assert alice.listed(form).ids == (alice.device_id,)
