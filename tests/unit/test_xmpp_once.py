"""The XMPP inside half: stanzas that are sealed, sent and over by themselves, both ways, and what answers them."""

import dataclasses

import pytest

from adapters.xmpp.names import ERROR, NEGOTIATE, NOTICE, RECEIPT
from crypto.esession.conversation import Event, initiate, send
from crypto.esession.identities import Identity
from crypto.esession.rekeying_state import RekeyPolicy
from crypto.esession.terms import Terms
from tests.unit.test_xmpp_policy import ALICES, ANOTHER, showing, site_with
from tests.unit.xmpp_site import Site, receipt

ACCEPTS = {"one-shot": "yes", "public-keys": "key"}
SENDS = {"one-shot": "send", "public-keys": "key"}
REQUEST = "<request xmlns='urn:xmpp:receipts'/>"


def takes(identity: Identity = ALICES, **more: object) -> Terms:
    """Terms of a client that takes and sends stanzas sealed alone."""
    return showing(identity, peer_keys=("key",), three_message=True, **more)


def once(site: Site, body: str, *, inside: str | None = None) -> None:
    """The client seals one message, sends it and has no session."""
    alice = site.alice
    content = inside or f"<body>{body}</body>{REQUEST}<origin-id xmlns='urn:xmpp:sid:0' id='{body}'/>"
    alice._take(initiate(f"once-{body}", alice.terms, alice.draw, once=content.encode()), f"once-{body}")
    site.run()


def sending(site: Site, identity: Identity = ALICES) -> Site:
    """The client has shown its key, is there, and takes single stanzas."""
    site.alice.terms = takes(identity)
    site.resources(site.alice.jid)
    return site


# ---------------------------------------------------------------- answers to what came alone
def test_the_receipt_for_a_stanza_sealed_alone_is_sealed_alone_for_its_sender() -> None:
    site = site_with(ACCEPTS)
    site.alice.terms = takes()
    once(site, "hello")
    assert site.bodies() == ["hello"]
    assert site.alice.acknowledged == ["hello"]
    assert site.alice.events[-1] is Event.CONTENT_ONCE
    assert not site.sent(RECEIPT, ERROR)
    assert b"hello" not in b"".join(bytes(c.values["form"].v) for c in site.sent(NEGOTIATE))  # type: ignore[arg-type]
    assert not list(site.records.names("session/"))


def test_nothing_is_answered_where_no_receipt_was_asked_for() -> None:
    site = site_with(ACCEPTS)
    site.alice.terms = takes()
    once(site, "quiet", inside="<body>quiet</body><origin-id xmlns='urn:xmpp:sid:0' id='q'/>")
    assert site.bodies() == ["quiet"]
    assert not site.alice.acknowledged
    assert Event.CONTENT_ONCE not in site.alice.events


def test_a_refusal_is_sealed_for_its_sender_too() -> None:
    site = site_with(ACCEPTS)
    site.alice.terms = takes()
    site.acknowledging = False
    once(site, "hello")
    site.refuse(site.step.deliveries[-1][1].id, "room-not-encrypted")
    site.run()
    assert [id_ for id_, _ in site.alice.errors] == ["hello"]
    assert not site.sent(ERROR)


@pytest.mark.parametrize("refused", [False, True])
def test_a_sender_that_takes_none_itself_is_told_in_the_clear(refused: bool) -> None:
    site = site_with(ACCEPTS)
    site.alice.terms = dataclasses.replace(takes(), three_message=False)
    site.acknowledging = not refused
    once(site, "hello")
    if refused:
        site.refuse(site.step.deliveries[-1][1].id, "room-not-encrypted")
        site.run()
    assert len(site.sent(RECEIPT)) == (not refused)
    assert [c.values["id"].v for c in site.sent(ERROR)] == ["hello"] * refused
    assert not list(site.records.names("session/"))


def test_a_sender_that_is_gone_is_told_in_the_clear_after_a_while_and_nothing_is_left() -> None:
    site = site_with(ACCEPTS)
    site.alice.terms = takes()
    site.acknowledging = False
    once(site, "hello")
    site.lost = lambda _: True
    site.acknowledge(site.step.deliveries[-1][1].id)
    site.wait(60)
    assert len(site.sent(RECEIPT)) == 1
    assert not list(site.records.names("session/"))


def test_an_answer_that_gives_way_to_newer_negotiations_is_told_in_the_clear() -> None:
    site = site_with(ACCEPTS)
    site.alice.terms = takes()
    site.acknowledging = False
    bodies = [f"m{n}" for n in range(8)]
    for body in bodies:
        once(site, body)
    site.lost = lambda _: True
    for _, message in list(site.step.deliveries):
        site.acknowledge(message.id)
    once(site, "more")
    site.wait(60)
    assert sorted(str(c.values["received"].v) for c in site.sent(RECEIPT)) == bodies


def test_the_answer_is_sealed_only_for_a_key_that_the_user_has_shown() -> None:
    site = site_with(ACCEPTS)
    site.alice.terms = takes()
    site.acknowledging = False
    once(site, "hello")
    site.alice.terms = takes(ANOTHER)
    site.acknowledge(site.step.deliveries[-1][1].id)
    site.run()
    assert Event.CONTENT_ONCE not in site.alice.events
    assert len(site.sent(RECEIPT)) == 1


def test_a_repetition_is_answered_again_and_taken_once() -> None:
    site = site_with(ACCEPTS)
    site.alice.terms = takes()
    once(site, "hello")
    same = f"<body>hello</body>{REQUEST}<origin-id xmlns='urn:xmpp:sid:0' id='hello'/>"
    once(site, "again", inside=same)
    assert site.bodies() == ["hello"]
    assert site.alice.acknowledged == ["hello", "hello"]


# ---------------------------------------------------------------- messages for the user
def test_messages_for_the_user_go_alone_one_after_the_other_where_the_operator_says_so() -> None:
    site = sending(site_with(SENDS))
    for number in range(3):
        site.message(f"text {number}", f"${number}", site.bob)
    site.run()
    assert site.alice.shown == ["text 0", "text 1", "text 2"]
    assert site.alice.current is None
    assert not list(site.records.names("session/"))
    assert site.step.done == []
    for id_ in sorted(site.alice._seen):
        once(site, id_, inside=receipt(id_).decode())
    assert [id_ for _, id_ in site.step.done] == ["$0", "$1", "$2"]


def test_a_receipt_in_the_clear_counts_for_nothing_there_and_the_message_goes_again() -> None:
    site = sending(site_with(SENDS))
    site.message("text", "$0", site.bob)
    site.run()
    (id_,) = site.alice._seen
    site.alice.write(receipt(id_), kind="chat", thread=None, id_="forged")
    site.run()
    assert site.step.done == []
    site.wait(40)
    assert (site.alice.shown, site.alice.repeats) == (["text"], 1)
    once(site, "told", inside=receipt(id_).decode())
    assert [done for _, done in site.step.done] == ["$0"]


def test_nothing_goes_alone_to_another_key_than_the_user_s_clients_have_shown() -> None:
    site = sending(site_with(SENDS))
    site.message("first", "$0", site.bob)
    site.run()
    sending(site, ANOTHER)
    site.message("second", "$1", site.bob)
    site.wait(5)
    assert site.alice.shown == ["first"]
    sending(site)
    site.wait(60)
    assert site.alice.shown == ["first", "second"]


def test_a_session_that_stands_goes_before() -> None:
    site = sending(site_with(SENDS))
    site.alice.start(thread="talk")
    site.run()
    assert site.alice.current == "talk"
    site.message("within", "$0", site.bob)
    site.run()
    assert site.alice.shown == ["within"]
    assert [id_ for _, id_ in site.step.done] == ["$0"]


def test_a_client_that_takes_no_single_stanzas_gets_what_waits_when_it_asks_for_a_session() -> None:
    site = site_with(SENDS)
    site.alice.terms = showing(ALICES, peer_keys=("key",))
    site.resources(site.alice.jid)
    site.message("text", "$0", site.bob)
    site.wait(20)
    assert site.alice.shown == []
    site.alice.start(thread="talk")
    site.run()
    assert site.alice.shown == ["text"]


# ---------------------------------------------------------------- what else a short negotiation needs
def test_a_client_that_knows_four_messages_only_is_asked_again_in_four() -> None:
    site = site_with({"shield": "initiator", "own-key": "key", "public-keys": "key none"})
    site.alice.terms = showing(ALICES, peer_keys=("key",))
    site.resources(site.alice.jid)
    site.message("text", "$0", site.bob)
    site.run()
    assert Event.FAILED in site.alice.events
    assert site.alice.shown == ["text"]
    # The error that asks for it could be anybody's: that the identity is not shielded any more is told.
    assert "shield-undone" in site.step.codes()
    assert "shield-undone" in [c.values["code"].v for c in site.sent(NOTICE)]


@pytest.mark.parametrize("name", ["one-shot", "three-message"])
def test_short_negotiations_ask_for_a_key_by_themselves(name: str) -> None:
    site = site_with({name: "yes"})
    site.alice.terms = takes(shield="initiator")
    if name == "one-shot":
        once(site, "hello")
        assert site.bodies() == ["hello"]
    else:
        site.alice.start(thread="three")
        site.run()
        assert site.alice.current == "three"


def test_a_peer_that_renews_its_keys_with_every_stanza_loses_its_session_and_others_do_not() -> None:
    site = Site().established()
    for every, ends in ((100, False), (1, True)):
        policy = RekeyPolicy(stanzas=every, outstanding=1000)
        for number in range(80):
            alice = site.alice
            if alice.current is None:
                break
            content = f"<body>{every}/{number}</body>".encode()
            outcome = send(alice.conversations[alice.current], content, draw=alice.draw, now_ms=1, policy=policy)
            assert outcome.conversation is not None
            alice.conversations[alice.current] = outcome.conversation
            alice.write(outcome.replies[0].payload, kind="chat", thread=alice.current, id_=f"r{number}")
            site.run()
        assert ("rekey-too-many" in site.step.codes()) is ends
