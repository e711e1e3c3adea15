"""OMEMO between the user's devices (python-omemo) and a contact: sent, received, repeated, refused."""

from collections.abc import Iterator

import pytest

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_queue import enqueue
from adapters.xmpp.inside_stanzas import read_stanza
from adapters.xmpp.outside_stanzas import rendered
from crypto.content import Mark, Style
from crypto.message import Message, Standing
from crypto.omemo.names import Namespace
from crypto.xml import CLIENT, element, serialize
from tests.unit.omemo_site import AXOLOTL, BOTH, OMEMO_2, OmemoSite
from tests.unit.xmpp_site import ALICE, BOB


@pytest.fixture(params=[AXOLOTL, OMEMO_2], ids=["axolotl", "omemo-2"])
def site(request: pytest.FixtureRequest) -> Iterator[OmemoSite]:
    """One device of hers."""
    made = OmemoSite(request.param)
    yield made
    made.close()


def test_a_message_of_the_contacts_reaches_the_users_device_and_its_receipt_settles_it(site: OmemoSite) -> None:
    site.message("hello", "$1")
    site.run()
    assert site.devices[0].shown == ["hello"]
    assert site.step.done == [("bob", "$1")]
    assert not [name for name in site.records.held if name.startswith(("queue/", "omemo-out/"))]


def test_a_message_of_the_users_is_opened_and_acknowledged(site: OmemoSite) -> None:
    site.devices[0].say("hi Bob", "a1")
    site.run()
    assert site.bodies() == ["hi Bob"]
    assert site.step.deliveries[0][1].standing is Standing.ENCRYPTED
    assert site.devices[0].acknowledged == ["a1"]
    assert site.devices[0].errors == []


def test_two_hundred_messages_go_each_way_in_order(site: OmemoSite) -> None:
    for number in range(200):
        site.message(f"to {number}", f"${number}")
        site.devices[0].say(f"from {number}", f"a{number}")
        if number % 7 == 0:
            site.run()
    site.run()
    assert site.devices[0].shown == [f"to {n}" for n in range(200)]
    assert site.bodies() == [f"from {n}" for n in range(200)]
    assert site.devices[0].undecryptable == site.devices[0].repeats == 0
    assert len(site.step.done) == 200


# ---------------------------------------------------------------- what goes out
def test_two_devices_of_different_ability_share_one_stanza_and_each_reads_it_once() -> None:
    site = OmemoSite(AXOLOTL, OMEMO_2, BOTH)
    site.message("hello", "$1")
    site.message("again", "$2")
    site.run()
    assert [d.shown for d in site.devices] == [["hello", "again"]] * 3
    assert len(site.sent("omemo")) == 2
    assert not any(d.not_for_us or d.undecryptable for d in site.devices)
    site.close()


def test_nothing_that_can_be_read_leaves_in_the_clear(site: OmemoSite) -> None:
    site.message("a secret of Bob's", "$1")
    site.devices[0].say("a secret of Alice's", "a1")
    site.run()
    assert site.devices[0].shown == ["a secret of Bob's"]
    for carried in site.carried:
        assert not any(b"secret" in (v.v if isinstance(v.v, bytes) else b"") for v in carried.values.values())


def test_the_stanza_goes_to_the_account_is_stored_and_says_what_it_is() -> None:

    site = OmemoSite(AXOLOTL)
    site.message("hello", "$1")
    site.run()
    (sent,) = site.sent("omemo")
    stanza = read_stanza(rendered(sent.request, sent.values))
    names = [(e.namespace, e.name) for e in stanza.elements]
    assert stanza.attribute("to") == ALICE
    assert stanza.attribute("type") == "chat"
    assert names.count(("urn:xmpp:hints", "store")) == 1
    assert ("urn:xmpp:receipts", "request") in names
    assert [e.attribute("namespace") for e in stanza.elements if e.name == "encryption"] == [Namespace.AXOLOTL.value]
    site.close()


def test_a_message_waits_until_there_is_a_device_and_the_user_is_told_once() -> None:
    site = OmemoSite()
    site.message("hello", "$1")
    site.message("again", "$2")
    site.run()
    assert site.sent("omemo") == []
    assert [str(c.values["code"].v) for c in site.sent("notice")] == ["omemo-no-devices"]
    device = site.add(AXOLOTL)
    site.wait(1300)
    site.message("third", "$3")
    site.run()
    assert device.shown == ["hello", "again", "third"]
    site.close()


def test_no_session_is_asked_of_a_client_that_announces_none(site: OmemoSite) -> None:
    site.resources(site.devices[0].jid, able=False)
    site.devices[0].say("hi", "a1")
    site.message("hello", "$1")
    site.wait(120)
    assert site.sent("negotiate") == []
    assert site.devices[0].shown == ["hello"]


# ---------------------------------------------------------------- delivery
def test_a_message_without_receipt_counts_as_delivered_a_minute_after_the_server_took_it(site: OmemoSite) -> None:
    site.devices[0].receipts = False
    site.message("hello", "$1")
    site.run()
    assert site.step.done == []
    site.wait(61)
    assert site.step.done == [("bob", "$1")]
    assert len(site.sent("omemo")) == 1


def test_a_client_that_gives_receipts_and_gave_none_is_sent_the_same_octets_again(site: OmemoSite) -> None:
    site.resources(site.devices[0].jid, able=False)
    site.message("one", "$1")
    site.run()
    site.devices[0].receipts = False
    site.message("two", "$2")
    site.wait(600)
    sent = site.sent("omemo")
    assert len(sent) == 4
    assert len({c.values["content"].v for c in sent[1:]}) == 1
    assert len({c.key for c in sent}) == 4
    assert site.devices[0].shown == ["one", "two"]
    assert site.devices[0].repeats == 2
    assert site.step.done == [("bob", "$1"), ("bob", "$2")]


def test_the_text_for_clients_without_omemo_stands_beside_the_first_stanza_and_not_beside_its_repetitions(
    site: OmemoSite,
) -> None:
    site.resources(site.devices[0].jid, able=False)
    site.message("one", "$1")
    site.run()
    site.devices[0].receipts = False
    site.message("two", "$2")
    site.wait(600)
    sent = [rendered(c.request, c.values) for c in site.sent("omemo")]
    assert [b"<body>" in octets for octets in sent] == [True, True, False, False]
    assert len(set(site.stanza_ids("omemo")[1:])) == 1
    assert all(b"<origin-id" in octets and b"<store" in octets and b"<encryption" in octets for octets in sent)


def test_what_nobody_got_has_that_text_still_when_it_goes_again(site: OmemoSite) -> None:
    site.lost = lambda one: one.request == "omemo"
    site.message("hello", "$1")
    site.run()
    (first,) = site.sent("omemo")
    site.answer(first)
    site.lost = lambda one: False
    (id_,) = site.stanza_ids("omemo")
    error = "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    site.arrive(f"<message from='{ALICE}' to='{BOB}/lockgate' type='error' id='{id_}'>{error}</message>".encode())
    site.wait(6)
    assert site.devices[0].shown == ["hello"]
    assert [b"<body>" in rendered(c.request, c.values) for c in site.sent("omemo")] == [True, True]


def test_a_message_that_the_users_server_sends_back_goes_again_after_a_pause(site: OmemoSite) -> None:
    site.lost = lambda one: one.request == "omemo"
    site.message("hello", "$1")
    site.message("again", "$2")
    site.run()
    for one in site.sent("omemo"):
        site.answer(one)
    site.lost = lambda one: False
    for id_ in site.stanza_ids("omemo"):
        error = f"<error type='cancel'><service-unavailable xmlns='{'urn:ietf:params:xml:ns:xmpp-stanzas'}'/></error>"
        site.arrive(f"<message from='{ALICE}' to='{BOB}/lockgate' type='error' id='{id_}'>{error}</message>".encode())
    site.message("third", "$3")
    site.run()
    assert site.devices[0].shown == []
    site.wait(6)
    assert site.devices[0].shown == ["hello", "again", "third"]
    assert [id_ for _, id_ in site.step.done] == ["$1", "$2", "$3"]


def test_what_a_client_sends_back_is_not_sent_again(site: OmemoSite) -> None:
    site.devices[0].receipts = False
    site.message("hello", "$1")
    site.run()
    (id_,) = site.stanza_ids("omemo")
    site.arrive(f"<message from='{ALICE}/phone0' to='{BOB}' type='error' id='{id_}'><error/></message>".encode())
    site.wait(600)
    assert len(site.sent("omemo")) == 1


def test_a_stanza_that_can_never_be_sent_is_reported_to_its_sender(site: OmemoSite) -> None:
    site.lost = lambda one: one.request == "omemo"
    site.message("hello", "$1")
    site.run()
    site.answer(site.sent("omemo")[0], "bad-request")
    assert site.step.failures == [("bob", "$1", "undeliverable")]


# ---------------------------------------------------------------- what comes in
def test_the_same_ciphertext_again_is_not_handed_on_and_is_acknowledged_again(site: OmemoSite) -> None:
    octets = site.devices[0].say("hi", "a1")
    site.run()
    site.arrive(octets)
    site.arrive(octets.replace(b"id='a1'", b"id='a2'"))
    site.run()
    assert site.bodies() == ["hi"]
    assert site.devices[0].acknowledged == ["a1", "a1", "a1"]
    assert site.devices[0].errors == []


def test_a_message_that_is_not_for_the_contact_is_answered_with_what_to_do(site: OmemoSite) -> None:
    site.devices[0].say("hi", "a1")
    octets = site.devices[0].outbox.pop()
    own = site.nodes.lists[site.devices[0].forms[0], BOB].elements[0].attribute("id") or ""
    site.arrive(octets.replace(f'rid="{own}"'.encode(), b'rid="77"'))
    site.run()
    assert site.bodies() == []
    assert site.devices[0].errors == [("a1", "policy-violation")]
    assert "omemo-not-for-us" in site.step.codes()


@pytest.mark.parametrize("resource", ["", "/lockgate"])
def test_a_refusal_comes_from_the_address_that_was_written_to(site: OmemoSite, resource: str) -> None:
    """Profanity shows an error that comes from another address outside the chat's window."""
    device, to = site.devices[0], f"{BOB}{resource}"
    device.say("hi", "a1")
    octets = device.outbox.pop().replace(f"to='{BOB}'".encode(), f"to='{to}'".encode())
    own = site.nodes.lists[device.forms[0], BOB].elements[0].attribute("id") or ""
    site.arrive(octets.replace(f'rid="{own}"'.encode(), b'rid="77"'))
    site.arrive(f"<message xmlns='{CLIENT}' from='{device.jid}' to='{to}' id='a2'><body>x</body></message>".encode())
    site.run()
    assert [id_ for id_, _ in device.errors] == ["a1", "a2"]
    assert [str(carry.values["from"].v) for carry in site.sent("error")] == [to, to]


def test_a_message_that_cannot_be_opened_is_told_of_and_the_session_heals(site: OmemoSite) -> None:
    device = site.devices[0]
    device.say("one", "a1")
    site.message("hello", "$1")
    site.run()
    for name in [n for n in site.records.held if n.startswith("omemo/bob/session/")]:
        del site.records.held[name]
    device.say("two", "a2")
    site.run()
    assert site.bodies() == ["one"]
    assert device.errors == [("a2", "not-acceptable")]
    assert device.empties >= 1
    device.say("three", "a3")
    site.message("again", "$2")
    site.run()
    assert site.bodies() == ["one", "three"]
    assert device.shown == ["hello", "again"]


def _one_that_cannot_be_read(site: OmemoSite) -> None:
    """Bob knows Alice's device, and something comes that it seems to have written; nobody answers for its keys."""
    device = site.devices[0]
    device.say("one", "a1")
    site.run()
    site.message("hello", "$1")
    site.run()
    octets = device.say("two", "a2")
    device.outbox.clear()
    site.silent = True
    place = octets.index(b">", octets.index(b"<payload")) + 1
    site.arrive(octets[:place] + (b"A" if octets[place : place + 1] != b"A" else b"B") + octets[place + 1 :])
    site.message("again", "$2")
    site.run()


@pytest.mark.parametrize("forms", [AXOLOTL, OMEMO_2])
def test_while_a_session_heals_messages_wait_for_it_and_mend_it_where_empty_ones_are_ignored(
    forms: tuple[Namespace, ...],
) -> None:
    site = OmemoSite(forms)
    device = site.devices[0]
    device.ignores_empties = True
    _one_that_cannot_be_read(site)
    assert device.shown == ["hello"]
    site.silent = False
    site.deliver_again("fetch")
    site.run()
    assert device.shown == ["hello", "again"]
    assert device.empties == 0
    last = rendered("omemo", site.sent("omemo")[-1].values)
    assert b'prekey="true"' in last or b'kex="true"' in last
    site.close()


def test_messages_do_not_wait_longer_for_a_session_to_heal_than_an_answer_takes(site: OmemoSite) -> None:
    _one_that_cannot_be_read(site)
    assert site.devices[0].shown == ["hello"]
    site.wait(200)
    assert site.devices[0].shown == ["hello", "again"]


def test_a_forged_message_changes_nothing(site: OmemoSite) -> None:
    device = site.devices[0]
    device.say("one", "a1")
    site.run()
    octets = device.say("two", "a2")
    device.outbox.clear()
    place = octets.index(b"<payload") + 40
    forged = octets[:place] + (b"A" if octets[place : place + 1] != b"A" else b"B") + octets[place + 1 :]
    site.arrive(forged)
    site.run()
    assert site.bodies() == ["one"]
    site.arrive(octets)
    site.run()
    assert site.bodies() == ["one", "two"]


def test_a_refusal_is_shown_beside_the_message_or_said_in_a_text_when_its_device_is_gone(site: OmemoSite) -> None:
    device = site.devices[0]
    site.acknowledging = False
    site.resources(device.jid, able=False)
    device.say("hi", "a1")
    site.run()
    site.refuse(site.step.deliveries[0][1].id, "too-large")
    site.run()
    assert device.errors == [("a1", "policy-violation")]
    device.say("hi again", "a2")
    site.run()
    site.resources(f"{ALICE}/other", able=False)
    site.refuse(site.step.deliveries[1][1].id, "too-large")
    site.run()
    assert device.errors == [("a1", "policy-violation")]
    assert ["too large" in text for text in device.shown] == [True]


def test_in_the_older_form_what_stands_beside_the_ciphertext_changes_nothing() -> None:
    site = OmemoSite(AXOLOTL)
    device = site.devices[0]
    device.say("one", "a1")
    site.run()
    edit = serialize(element("urn:xmpp:message-correct:0", "replace", id="a1"))
    typing = b"<composing xmlns='http://jabber.org/protocol/chatstates'/>"
    device.say("two", "a2", beside=edit + typing)
    site.run()
    assert [m.replaces for _, m in site.step.deliveries] == [None, None]
    assert site.step.signals == []
    site.close()


def test_in_the_newer_form_edits_and_reactions_travel_inside() -> None:
    site = OmemoSite(OMEMO_2)
    device = site.devices[0]
    device.say("one", "a1")
    site.run()
    device.say("two", "a2", within=(element("urn:xmpp:message-correct:0", "replace", id="a1"),))
    site.run()
    first, second = (m for _, m in site.step.deliveries)
    assert second.replaces == first.id
    device.say("three", "a3", beside=serialize(element("urn:xmpp:message-correct:0", "replace", id="a1")))
    site.run()
    assert site.step.deliveries[2][1].replaces is None
    site.close()


def test_an_envelope_from_another_is_refused() -> None:
    site = OmemoSite(OMEMO_2)
    device = site.devices[0]
    device.named = "mallory@example.org"
    device.say("hi", "a1")
    site.run()
    assert site.bodies() == []
    assert device.errors == [("a1", "bad-request")]
    site.close()


# ---------------------------------------------------------------- restarts, switches, choice
def test_a_restart_repeats_nothing_and_loses_nothing(site: OmemoSite) -> None:
    for number in range(6):
        site.message(f"to {number}", f"${number}")
        site.start(resumed=number % 2 == 0)
        site.run()
        site.devices[0].say(f"from {number}", f"a{number}")
        site.run()
    site.wait(300)
    assert site.devices[0].shown == [f"to {n}" for n in range(6)]
    assert site.bodies() == [f"from {n}" for n in range(6)]
    assert site.devices[0].undecryptable == site.devices[0].repeats == 0


def test_after_a_restart_that_may_have_lost_steps_no_key_is_used_again(site: OmemoSite) -> None:
    site.message("one", "$1")
    site.run()
    held = dict(site.records.held)
    site.message("two", "$2")
    site.run()
    site.records.held = held  # the ledger forgot that
    site.start(resumed=False)
    site.run()
    site.message("three", "$3")
    site.run()
    assert site.devices[0].shown == ["one", "two", "three"]
    assert site.devices[0].repeats == site.devices[0].undecryptable == 0


def test_without_the_option_nothing_is_done(site: OmemoSite) -> None:
    octets = site.devices[0].say("hi", "a1")
    site.devices[0].outbox.clear()
    plain = OmemoSite(AXOLOTL, options={"omemo": "off"})
    plain.arrive(octets)
    plain.message("hello", "$1")
    plain.run()
    assert {c.request for c in plain.carried} <= {"error", "subscribe"}
    assert [c for c in plain.step.codes() if c.startswith("omemo")] == []
    assert not [n for n in plain.records.held if n.startswith("omemo")]
    plain.close()


def test_messages_go_another_way_when_omemo_is_turned_off(site: OmemoSite) -> None:
    from dataclasses import replace

    site.devices[0].receipts = False
    site.message("hello", "$1")
    site.run()
    site.bob = replace(site.bob, options={})
    site.step.account = replace(site.step.account, contacts=(site.bob,))
    site.start(resumed=True)
    site.established()
    site.wait(5)
    assert site.alice.shown == ["hello"]


def test_the_status_names_omemo_and_the_assurance_is_end_to_end(site: OmemoSite) -> None:
    site.message("hello", "$1")
    site.run()
    (status,) = site.half.status(site.records, site.step.account)
    assert status.state == "omemo"
    assert status.assurance.value == "end-to-end"


def test_a_session_is_preferred_where_a_client_announces_one_and_used_for_what_comes_after() -> None:
    site = OmemoSite(AXOLOTL)
    site.resources(site.alice.jid)
    site.message("hello", "$1")
    site.run()
    assert site.alice.shown == ["hello"]
    assert len(site.sent("negotiate")) > 0
    site.close()


def test_when_no_session_comes_about_omemo_takes_over() -> None:
    site = OmemoSite(AXOLOTL)
    site.lost = lambda one: one.request == "negotiate"
    site.resources(site.alice.jid)
    site.message("hello", "$1")
    site.run()
    assert site.devices[0].shown == []
    site.wait(120)
    assert site.devices[0].shown == ["hello"]
    assert [id_ for _, id_ in site.step.done] == ["$1"]
    site.close()


def test_the_operator_may_put_omemo_first_or_leave_a_form_out() -> None:
    site = OmemoSite(AXOLOTL, options={"protocols": "omemo:2, axolotl, esession"})
    site.resources(site.alice.jid)
    site.message("hello", "$1")
    site.run()
    assert site.devices[0].shown == ["hello"]
    assert site.sent("negotiate") == []
    site.close()
    strict = OmemoSite(AXOLOTL, OMEMO_2, options={"protocols": "omemo:2"})
    strict.resources(strict.alice.jid)
    strict.message("hello", "$1")
    strict.wait(60)
    assert [d.shown for d in strict.devices] == [[], ["hello"]]
    assert strict.sent("negotiate") == []
    strict.close()


def test_what_goes_out_in_a_session_reaches_the_omemo_devices_as_well_and_no_client_twice() -> None:
    site = OmemoSite(AXOLOTL, OMEMO_2)
    phone, laptop = site.devices
    laptop.jid = site.alice.jid  # the client that also speaks ESessions
    laptop.say("first", "a1")
    site.run()
    site.established()
    site.message("hello", "$1")
    site.message("again", "$2")
    site.run()
    assert site.alice.shown == ["hello", "again"]
    assert phone.shown == ["hello", "again"]
    assert laptop.shown == []
    phone.say("from the phone", "a2")
    site.run()
    assert site.bodies() == ["first", "from the phone"]
    assert site.alice.copies == ["from the phone"]
    assert [id_ for _, id_ in site.step.done] == ["$1", "$2"]
    assert not [n for n in site.records.held if n.startswith("omemo-copy/")]
    site.close()


def test_a_session_does_not_wait_for_what_omemo_keeps_under_way() -> None:
    site = OmemoSite(AXOLOTL)
    site.devices[0].receipts = False
    for number in range(40):
        site.message(f"{number}", f"${number}")
    site.run()
    site.established()
    for number in range(40, 60):
        site.message(f"{number}", f"${number}")
    site.run()
    assert site.alice.shown == [f"{n}" for n in range(40, 60)]
    site.wait(61)
    assert len(site.step.done) == 60
    site.close()


def test_what_is_sent_in_the_step_of_such_a_restart_is_sealed_by_new_keys(site: OmemoSite) -> None:
    site.message("one", "$1")
    site.run()

    def keep() -> None:
        at = LegStep(site.step, site.bob)
        enqueue(at, Message("$2", "two"))
        at.finish()

    site.do(keep)
    held = dict(site.records.held)
    site.resources(site.devices[0].jid, able=False)  # sends it, which the ledger forgets
    site.run()
    site.records.held = held
    site.start(resumed=False)
    site.run()
    assert site.devices[0].shown == ["one", "two", "two"]
    assert site.devices[0].repeats == site.devices[0].undecryptable == 0


def test_who_asks_for_verified_sessions_is_not_served_by_devices_that_nobody_verified() -> None:
    site = OmemoSite(AXOLOTL, options={"require-verified": "yes"})
    site.message("hello", "$1")
    site.devices[0].say("hi", "a1")
    site.wait(120)
    assert site.devices[0].shown == []
    assert site.bodies() == []
    assert site.devices[0].errors == [("a1", "policy-violation")]
    site.close()


def test_an_edit_of_the_contacts_is_an_edit_in_omemo_2_and_words_in_the_older_form() -> None:
    site = OmemoSite(AXOLOTL, OMEMO_2)
    old, new = site.devices
    site.message("first", "$1")
    site.run()
    site.do(lambda: site.half.to_network(site.step, site.bob, Message("$2", "second", replaces="$1")))
    site.run()
    assert old.shown[0] == "first"
    assert "second" in old.shown[1]
    assert old.shown[1] != "second"
    assert new.shown == ["first", "second"]
    assert [e.attribute("id") for e in new.contents[1] if e.name == "replace"] == [new.ids[0]]
    for carried in site.sent("omemo"):
        assert b"replace" not in rendered(carried.request, carried.values)
    site.close()


def test_the_request_for_a_receipt_stands_outside_only_where_the_older_form_is() -> None:
    for forms, outside in ((AXOLOTL, True), (OMEMO_2, False)):
        site = OmemoSite(forms)
        site.message("hello", "$1")
        site.run()
        (sent,) = site.sent("omemo")
        assert (b"<request" in rendered(sent.request, sent.values)) is outside
        assert site.step.done == [("bob", "$1")]
        site.close()


def test_what_would_be_too_large_for_one_stanza_in_two_forms_is_reported_and_what_follows_goes_out() -> None:
    site = OmemoSite(AXOLOTL, OMEMO_2)
    site.message("x" * 120_000, "$1")
    site.message("small", "$2")
    site.run()
    assert site.step.failures == [("bob", "$1", "too-large")]
    assert [d.shown for d in site.devices] == [["small"], ["small"]]
    site.close()


def test_a_formatted_message_with_very_many_marks_goes_out(site: OmemoSite) -> None:
    marks = tuple(Mark(3 * n, 3 * n + 1, Style.STRONG) for n in range(2000))
    site.do(lambda: site.half.to_network(site.step, site.bob, Message("$1", "ab " * 2000, marks=marks)))
    site.run()
    assert len(site.devices[0].shown) == 1
    assert site.step.done == [("bob", "$1")]


def test_an_unencrypted_message_is_refused_with_what_to_do(site: OmemoSite) -> None:
    head = f"<message from='{site.devices[0].jid}' to='{BOB}' type='chat' id='a1'>"
    site.arrive(f"{head}<body>in the clear</body></message>".encode())
    (error,) = site.step.take()[-1:]
    assert b"Turn OMEMO on" in rendered(error.request, error.values)
    assert site.bodies() == []
