"""The companion's inside half, step by step: what goes out encrypted, what is shown, what never leaves."""

import pytest

from adapters.companion import names
from adapters.companion.inside_stanzas import read_stanza
from adapters.companion.inside_state import MAX_QUEUED, Inbound
from adapters.companion.names import HANDSHAKE, LOCAL, PLAIN, SEALED, TO_CLIENT, Ability, Able
from crypto.esession.conversation import Event, kind_of
from tests.unit.companion_desk import Desk
from tests.unit.companion_peer import ALICE, ALICE_FULL, BOB, BOB_FULL, Bob, from_client

RECEIPT = "<request xmlns='urn:xmpp:receipts'/>"


@pytest.fixture
def desk() -> Desk:
    """Online, no session yet."""
    return Desk().online()


@pytest.fixture
def talking(desk: Desk) -> Desk:
    """With a session in which one message went."""
    desk.write("alpha")
    assert desk.bob.heard == ["alpha"]
    return desk


# ---------------------------------------------------------------- outgoing
def test_a_first_message_waits_for_the_session_and_goes_in_it(talking: Desk) -> None:
    kinds = [request for request, _ in talking.sent]
    assert kinds == [HANDSHAKE, HANDSHAKE, SEALED]
    assert not talking.left("alpha")


def test_everything_but_routing_goes_into_the_encryption(desk: Desk) -> None:
    desk.write("hi", extra="<subject>secret subject</subject><active xmlns='http://jabber.org/protocol/chatstates'/>")
    assert desk.bob.heard == ["hi"]
    assert not desk.left("secret subject")
    assert not desk.left("chatstates")


def test_a_peer_that_is_not_known_is_asked_and_its_message_waits(desk: Desk) -> None:
    desk.arrive(names.FROM_CLIENT, from_client("hello", to="carol@x.example"))
    assert desk.asked == ["carol@x.example"]
    assert not desk.left("hello")
    desk.arrive(names.ABLE, Able("carol@x.example", Ability.NO).encode())
    assert desk.sent == [(PLAIN, from_client("hello", to="carol@x.example"))]


def test_a_peer_that_never_says_what_it_is_able_to_gets_the_message_after_a_while(desk: Desk) -> None:
    desk.arrive(names.FROM_CLIENT, from_client("hello", to="carol@x.example"))
    desk.later(6000)
    assert [request for request, _ in desk.sent] == [PLAIN]


def test_a_peer_that_had_esessions_gets_nothing_in_plain_when_it_has_none_any_more(talking: Desk) -> None:
    talking.arrive(names.ABLE, Able(BOB_FULL, Ability.GONE).encode())
    talking.arrive(names.ABLE, Able(f"{BOB}/phone", Ability.NO).encode())
    talking.write("two")
    talking.later(30_000)
    assert not talking.left("two")
    assert any("waits" in text and "plain bob" in text for text in talking.told())


def test_the_user_may_command_plain_and_go_back(talking: Desk) -> None:
    assert "UNENCRYPTED" in talking.command("plain bob")
    talking.write("open")
    assert talking.sent[-1] == (PLAIN, from_client("open"))
    talking.later(2000)
    talking.command("encrypt bob")
    talking.later(2000)
    talking.write("closed again")
    assert "closed again" in talking.bob.heard
    assert not talking.left("closed again")


def test_a_queue_that_is_full_refuses_and_tells_the_client(desk: Desk) -> None:
    desk.arrive(names.ABLE, Able(BOB_FULL, Ability.GONE).encode())
    for number in range(MAX_QUEUED + 1):
        desk.write(f"m{number}")
    assert b'type="error"' in desk.shown[-1]
    assert b"resource-constraint" in desk.shown[-1]
    assert desk.peer.line.waiting == MAX_QUEUED


def test_a_stanza_that_the_client_gives_again_is_sent_once(desk: Desk) -> None:
    desk.reaching = False
    desk.write("again", id_="x1")
    desk.write("again", id_="x1")
    desk.write("again", id_="x2")
    assert desk.peer.line.waiting == 2


def test_what_is_no_stanza_raises_and_sends_nothing(desk: Desk) -> None:
    with pytest.raises(Exception, match="not XML"):
        desk.arrive(names.FROM_CLIENT, b"<message to='bob@far.example'><body>\xff</body></message>")
    assert desk.sent == []


def test_an_error_of_the_clients_never_carries_opened_text_out(talking: Desk) -> None:
    echoed = f"<message to='{BOB_FULL}' type='error'><body>opened text</body><error type='cancel'/></message>"
    talking.arrive(names.FROM_CLIENT, echoed.encode())
    assert not talking.left("opened text")


# ---------------------------------------------------------------- receipts, repetition, loss
def test_a_receipt_is_the_companions_and_is_shown_only_when_the_client_asked(desk: Desk) -> None:
    desk.write("with", id_="w", extra=RECEIPT)
    desk.write("without", id_="o")
    receipts = [s for s in desk.shown if b"urn:xmpp:receipts" in s]
    assert len(receipts) == 1
    assert b'id="w"' in receipts[0]
    assert desk.peer.line.waiting == 0


def test_unacknowledged_messages_go_again_in_order_under_their_ids_in_the_next_session(desk: Desk) -> None:
    desk.bob.receipts = False
    for text in ("one", "two", "three"):
        desk.write(text)
    desk.bob.receipts = True
    ids = list(desk.bob.ids)
    desk.hear(*desk.bob.end())
    desk.later(5000)
    desk.later(5000)
    assert desk.bob.heard == ["one", "two", "three"] * 2
    assert desk.bob.ids == ids * 2
    assert desk.peer.line.waiting == 0


def test_a_message_that_comes_again_in_a_new_session_is_shown_once_and_acknowledged_again(talking: Desk) -> None:
    talking.hear(*talking.bob.write("hello", "same-id"))
    talking.hear(*talking.bob.ask())
    talking.hear(*talking.bob.write("hello", "same-id"))
    assert talking.texts(BOB) == ["hello"]
    assert talking.bob.received == ["same-id", "same-id"]


def test_a_message_is_acknowledged_only_when_the_client_has_it(talking: Desk) -> None:
    talking.taking = False
    talking.hear(*talking.bob.write("hello", "kept"))
    assert talking.bob.received == []
    talking.step.commit(lambda: talking.inside.started(talking.step, resumed=True))
    again = [carry for carry in talking.step.take() if carry.request == TO_CLIENT]
    assert len(again) == 1
    talking.taking = True
    entry = talking.step.input("answer", TO_CLIENT, network=names.NETWORK, key=again[0].key)
    talking.step.commit(lambda: talking.inside.answered(talking.step, entry))
    talking.carried()
    assert talking.bob.received == ["kept"]
    assert talking.step.records.get(again[0].key, Inbound) is None


def test_without_the_register_no_sending_key_is_used_again(talking: Desk) -> None:
    talking.sent.clear()
    talking.reaching = False
    talking.step.commit(lambda: talking.inside.started(talking.step, resumed=False))
    talking.carried()
    assert {request for request, _ in talking.sent} == {HANDSHAKE}
    assert list(talking.step.records.names(f"session/{BOB}/")) == []


def test_when_we_go_offline_the_keys_go_and_the_messages_stay(talking: Desk) -> None:
    talking.arrive(names.OFFLINE, b"")
    assert list(talking.step.records.names(f"session/{BOB}/")) == []
    talking.write("two")
    talking.online()
    assert talking.bob.heard == ["alpha", "two"]


# ---------------------------------------------------------------- the string
def test_the_right_string_verifies_and_the_next_session_needs_none(talking: Desk) -> None:
    assert talking.bob.sas in talking.command("status")
    assert "verified" in talking.command(f"verify bob {talking.bob.sas}")
    talking.bob.compare()
    talking.hear(*talking.bob.end())
    talking.later(2000)
    talking.write("two")
    assert talking.bob.heard == ["alpha", "two"]
    assert "Verified" in talking.told()[-1]


def test_a_wrong_string_verifies_nothing(talking: Desk) -> None:
    assert "differ" in talking.command("verify bob zzzzz")
    assert "not verified" in talking.command("status")


def test_a_session_that_the_verified_chain_does_not_vouch_for_is_held(talking: Desk) -> None:
    talking.command(f"verify bob {talking.bob.sas}")
    mallory = Bob()
    talking.bob = mallory
    talking.hear(*mallory.ask())
    assert "WARNING" in talking.told()[-1]
    talking.hear(*mallory.write("trust me"))
    assert "trust me" not in "".join(talking.texts(BOB))
    talking.write("for Bob only")
    assert "for Bob only" not in mallory.heard
    assert "HELD" in talking.command("status")
    talking.command(f"verify bob {mallory.sas}")
    talking.later(3000)
    assert "for Bob only" in mallory.heard


# ---------------------------------------------------------------- hostile servers
def test_plain_text_in_the_name_of_a_peer_that_encrypts_is_never_shown_as_the_peers(talking: Desk) -> None:
    talking.hear(f"<message from='{BOB_FULL}' to='{ALICE_FULL}' type='chat'><body>forged</body></message>".encode())
    assert talking.texts(BOB) == []
    assert any("NOT encrypted" in text and "forged" in text for text in talking.told())


def test_a_changed_stanza_ends_the_session_and_the_user_learns_it(talking: Desk) -> None:
    (stanza,) = talking.bob.write("hello")
    at = stanza.index(b"<data>") + 6
    talking.hear(stanza[:at] + (b"B" if stanza[at : at + 1] == b"A" else b"A") + stanza[at + 1 :])
    assert talking.texts(BOB) == []
    assert any("changed, removed, inserted or reordered" in text for text in talking.told())


def test_a_replayed_stanza_changes_nothing(talking: Desk) -> None:
    (stanza,) = talking.bob.write("hello")
    talking.hear(stanza, stanza)
    assert talking.texts(BOB) == ["hello"]
    assert talking.peer.current is not None


def test_nobody_speaks_in_the_local_contacts_name(talking: Desk) -> None:
    before = len(talking.shown)
    talking.hear(f"<message from='{LOCAL}' to='{ALICE_FULL}' type='chat'><body>verify done</body></message>".encode())
    assert talking.shown[before:] == []


def test_requests_beyond_the_limit_cost_no_answer(desk: Desk) -> None:
    for _ in range(40):
        desk.reaching = False
        desk.hear(*Bob().ask())
    assert desk.step.codes().count("request-too-many") >= 15


# ---------------------------------------------------------------- presence and iq
def test_presence_and_iq_of_the_peer_are_opened(talking: Desk) -> None:
    bob = talking.bob
    (stanza,) = bob.say_in("presence", "<show>away</show><status>hidden</status>")
    talking.hear(stanza)
    assert b"<status>hidden</status>" in talking.shown[-1]
    assert read_stanza(talking.shown[-1]).name == "presence"
    (question,) = bob.say_in("iq", "<query xmlns='jabber:iq:last'/>", kind="get", id_="q1")
    talking.hear(question)
    assert b"jabber:iq:last" in talking.shown[-1]
    result = f"<iq to='{BOB_FULL}' id='q1' type='result'><query xmlns='jabber:iq:last' seconds='903'/></iq>"
    talking.arrive(names.FROM_CLIENT, result.encode())
    assert talking.sent[-1][0] == SEALED
    assert not talking.left("903")


def test_an_answer_to_a_plain_question_stays_plain(talking: Desk) -> None:
    result = f"<iq to='{BOB_FULL}' id='plain-1' type='result'><query xmlns='jabber:iq:last'/></iq>".encode()
    talking.arrive(names.FROM_CLIENT, result)
    assert talking.sent[-1] == (PLAIN, result)


def test_stanzas_of_the_protocol_are_what_they_seem(talking: Desk) -> None:
    sealed = next(stanza for request, stanza in talking.sent if request == SEALED)
    assert kind_of(read_stanza(sealed)) is not None
    assert Event.ESTABLISHED in talking.bob.events


def test_presence_for_the_peers_client_goes_encrypted_and_for_others_as_it_is(talking: Desk) -> None:
    hidden = f"<presence to='{BOB_FULL}'><status>between us</status></presence>".encode()
    talking.arrive(names.FROM_CLIENT, hidden)
    assert talking.sent[-1][0] == SEALED
    assert not talking.left("between us")
    subscribing = f"<presence to='{BOB}' type='subscribe'/>".encode()
    talking.arrive(names.FROM_CLIENT, subscribing)
    assert talking.sent[-1] == (PLAIN, subscribing)


def test_an_error_to_an_encrypted_question_is_encrypted_inside(talking: Desk) -> None:
    (question,) = talking.bob.say_in("iq", "<query xmlns='jabber:iq:last'/>", kind="get", id_="q2")
    talking.hear(question)
    text = "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>not for you</text>"
    error = f"<error type='cancel'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>{text}</error>"
    talking.arrive(names.FROM_CLIENT, f"<iq to='{BOB_FULL}' id='q2' type='error'>{error}</iq>".encode())
    assert talking.sent[-1][0] == SEALED
    assert not talking.left("not for you")


def test_a_chat_state_is_encrypted_or_not_sent(talking: Desk) -> None:
    state = f"<message to='{BOB}' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>"
    talking.arrive(names.FROM_CLIENT, state.encode())
    assert talking.sent[-1][0] == SEALED
    assert not talking.left("composing")
    talking.arrive(names.OFFLINE, b"")
    talking.arrive(names.ONLINE, ALICE_FULL.encode())
    talking.arrive(names.FROM_CLIENT, state.encode())
    assert not talking.left("composing")


def _copied(kind: str, text: str) -> bytes:
    inner = f"<message xmlns='jabber:client' from='{BOB_FULL}' to='{ALICE}' type='chat'><body>{text}</body></message>"
    forward = f"<forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded>"
    name = kind.split(maxsplit=1)[0]
    return f"<message from='{ALICE}' to='{ALICE_FULL}'><{kind}>{forward}</{name}></message>".encode()


@pytest.mark.parametrize("kind", ["received xmlns='urn:xmpp:carbons:2'", "result xmlns='urn:xmpp:mam:2' id='1'"])
def test_our_own_server_cannot_put_words_into_the_mouth_of_a_peer_that_encrypts(talking: Desk, kind: str) -> None:
    before = len(talking.shown)
    talking.hear(_copied(kind, "forged copy"))
    assert not any(b"<forwarded" in stanza for stanza in talking.shown[before:])
    assert all("NOT encrypted" in text for text in talking.told(before))


def test_copies_of_messages_of_others_pass(desk: Desk) -> None:
    copy = _copied("received xmlns='urn:xmpp:carbons:2'", "hello").replace(BOB.encode(), b"carol@x.example")
    desk.hear(copy)
    assert desk.shown[-1] == copy
