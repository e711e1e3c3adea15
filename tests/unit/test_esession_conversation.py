"""A conversation from the request to the end, both roles, in every profile."""

import pytest

from crypto.errors import Misuse
from crypto.esession.conversation import Conversation, Event, Kind, Stage, abandon, confirm, end, receive, send
from crypto.esession.payloads import Payload, kind_of, termination, thread_of
from crypto.esession.profiles import Profile
from crypto.esession.retained import Chain, Retained
from crypto.esession.terms import Terms
from crypto.esession.transitions import TABLE
from crypto.xml import Element, element
from tests.unit.esession_world import (
    DEPLOYED_TERMS,
    FAST,
    THREAD,
    End,
    error_stanza,
    established,
    message,
    negotiate,
    plain,
    ssn_form,
    with_field,
    with_form,
    with_text,
)

HELLO = b"<body>hello</body>"
profiles = pytest.mark.parametrize("profile", list(Profile))


def exchange(sender: End, taker: End, text: str = "hello") -> None:
    out = taker.take(sender.send(f"<body>{text}</body>".encode()))
    assert out.event is Event.CONTENT
    assert [e.text for e in out.content] == [text]


# ---------------------------------------------------------------------------------------------------- negotiation
@profiles
def test_two_ends_agree_whatever_profile_the_initiator_speaks(profile: Profile) -> None:
    alice, bob = established(profile)
    assert alice.session.profile is bob.session.profile is profile
    assert alice.session.sas == bob.session.sas
    assert len(alice.session.sas) == 5
    assert alice.session.chain is bob.session.chain is Chain.FIRST
    for _ in range(3):
        exchange(alice, bob, "one")
        exchange(bob, alice, "two ¿שלום? 😀")
        exchange(bob, alice, "three")


def test_an_unknown_peer_of_ours_is_recognised_and_spoken_to_by_the_letter() -> None:
    alice, _ = established()
    assert alice.session.profile is Profile.LETTER


def test_an_answer_without_field_types_is_taken_for_the_letter() -> None:
    alice, bob = End("a"), End("b")

    def untyped(stanza: Element) -> Element:
        return with_text(stanza, 'type="text-single" ', "")

    assert negotiate(alice, bob, change=untyped, at=2) == (Event.FAILED, Event.ESTABLISHED)  # only meddled with
    assert bob.session.profile is Profile.LETTER


@pytest.mark.parametrize("group", [14, 15, 16, 17, 18])
def test_every_group_works(group: int) -> None:
    alice, bob = End("a", Terms(groups=(group,))), End("b", Terms())
    assert negotiate(alice, bob) == (Event.ESTABLISHED, Event.ESTABLISHED)
    exchange(alice, bob)


def test_the_responder_takes_the_initiators_first_group_that_it_has_too() -> None:
    alice, bob = End("a", Terms(groups=(15, 16, 14))), End("b", Terms(groups=(14, 16)))
    negotiate(alice, bob)
    assert alice.session.sas == bob.session.sas
    assert b"<value>16</value>" in bob.outcomes[0].replies[0].payload


def test_the_payloads_are_what_they_say() -> None:
    alice, bob = End("a"), End("b")
    one = alice.initiate()
    two = message(bob.take(one).replies[0])
    three = message(alice.take(two).replies[0])
    four = message(bob.take(three).replies[0])
    assert [kind_of(m) for m in (one, two, three, four)] == ["request", "response", "completion", "init"]
    assert all(thread_of(m) == THREAD for m in (one, two, three, four))
    assert four.child("http://www.xmpp.org/extensions/xep-0116.html#ns-init", "init") is not None


def test_a_last_message_in_a_feature_element_is_taken_as_well() -> None:
    alice, bob = End("a"), End("b")

    def in_feature(stanza: Element) -> Element:
        old = next(e for e in stanza.elements if e.name == "init")
        return element(
            stanza.namespace, "message", element("http://jabber.org/protocol/feature-neg", "feature", *old.elements)
        )

    assert negotiate(alice, bob, change=in_feature, at=4) == (Event.ESTABLISHED, Event.ESTABLISHED)


def test_content_beside_the_last_message_is_taken_from_those_who_send_it() -> None:
    alice, bob = End("a"), End("b")
    two = message(bob.take(alice.initiate()).replies[0])
    four = message(bob.take(message(alice.take(two).replies[0])).replies[0])
    beside = bob.send(HELLO)
    both = element(four.namespace, "message", *four.elements, *(e for e in beside.elements if e.name == "c"))
    out = alice.take(both)
    assert out.event is Event.ESTABLISHED
    assert [e.text for e in out.content] == ["hello"]
    assert alice.session.confirmed
    exchange(bob, alice)


def test_terms_are_agreed_and_kept() -> None:
    alice, bob = established()
    assert (alice.session.logging, alice.session.disclosure) == ("may", "never")
    assert (bob.session.logging, bob.session.disclosure) == ("may", "never")


def test_disclosure_is_answered_truthfully_or_refused() -> None:
    both = Terms(disclosure=("never", "enabled"), groups=(14,))
    honest = Terms(disclosure=("enabled",), groups=(14,))
    alice, bob = End("a", both), End("b", honest)
    assert negotiate(alice, bob) == (Event.ESTABLISHED, Event.ESTABLISHED)
    assert alice.session.disclosure == bob.session.disclosure == "enabled"
    never, honest_end = End("c", FAST), End("d", honest)
    negotiate(never, honest_end)
    assert honest_end.last.event is Event.FAILED
    assert b'<field var="disclosure"/>' in honest_end.last.replies[0].payload


def test_a_log_is_agreed_to_only_where_it_may_be_kept() -> None:
    strict = Terms(logging=("mustnot",), groups=(14,))
    alice, bob = End("a"), End("b", strict)
    assert negotiate(alice, bob) == (Event.ESTABLISHED, Event.ESTABLISHED)
    assert alice.session.logging == bob.session.logging == "mustnot"


def test_terms_that_cannot_be_offered_are_our_mistake() -> None:
    for wrong in ({"groups": (2,)}, {"groups": ()}, {"groups": (14, 14)}, {"logging": ("x",)}, {"disclosure": ()}):
        with pytest.raises(Misuse):
            Terms(**wrong)
    assert Terms(groups=(5, 14)).groups == (5, 14)


# ---------------------------------------------------------------------------------------------------- declining
def test_a_declined_request_is_over() -> None:
    alice, bob = End("a"), End("b")
    bob.take(alice.initiate())
    (form,) = bob.end()
    assert bob.conversation is None
    assert alice.take(form).event is Event.DECLINED
    assert alice.conversation is None


def test_a_failed_proof_is_tried_once_more_in_the_other_profile() -> None:
    alice, bob = End("a"), End("b")
    bob.take(alice.initiate(Profile.DEPLOYED))
    alice.take(message(bob.last.replies[0]))
    out = alice.take(error_stanza("feature-not-implemented"))
    assert (out.event, out.retry, out.condition) == (Event.FAILED, Profile.LETTER, "feature-not-implemented")
    again, fresh = End("a2"), End("b2")
    fresh.take(again.initiate(Profile.LETTER, attempt=1))
    again.take(message(fresh.last.replies[0]))
    out = again.take(error_stanza(""))
    assert (out.event, out.retry, out.condition) == (Event.FAILED, None, "undefined-condition")


def _without_otr(form: Element) -> Element:
    kept = tuple(c for c in form.children if isinstance(c, str) or c.attribute("var") != "otr")
    return Element(form.namespace, form.name, form.attributes, kept)


def test_a_peer_of_the_letter_is_reached_on_the_second_attempt() -> None:
    """A responder that knows the letter only, but answers as deployed ones do: typed fields, no `otr`."""
    alice, bob = End("a"), End("b", DEPLOYED_TERMS)
    stanza = alice.initiate()
    bob.take(stanza)
    alice.take(with_form(message(bob.last.replies[0]), _without_otr))
    assert alice.conversation is not None
    assert alice.conversation.proved is not None
    assert alice.conversation.proved.profile is Profile.DEPLOYED
    out = alice.take(error_stanza(""))
    assert out.retry is not None
    alice2, bob2 = End("a2"), End("b2")
    assert negotiate(alice2, bob2, profile=out.retry) == (Event.ESTABLISHED, Event.ESTABLISHED)
    assert bob2.session.profile is Profile.LETTER


@pytest.mark.parametrize("first", ["AA", "gA"])
def test_a_counter_that_deployed_peers_fail_on_makes_the_initiator_start_anew(first: str) -> None:
    alice, bob = End("a"), End("b")
    counter = with_field("counter", first + "A" * 20 + "==")
    negotiate(alice, bob, profile=Profile.DEPLOYED, change=counter, at=2)
    assert alice.last.event is Event.FAILED
    assert alice.last.retry is Profile.DEPLOYED
    assert b'<field var="counter"/>' in alice.last.replies[0].payload
    letter, other = End("c"), End("d")
    letter_events = negotiate(letter, other, profile=Profile.LETTER, change=counter, at=2)
    assert letter_events[1] is Event.FAILED  # the letter goes on; only the meddling is noticed, by the other


# ---------------------------------------------------------------------------------------------------- repetitions
def test_negotiation_messages_that_come_twice_change_nothing() -> None:
    alice, bob = End("a"), End("b")
    one = alice.initiate()
    two = message(bob.take(one).replies[0])
    assert bob.take(one).event is Event.IGNORED
    three = message(alice.take(two).replies[0])
    assert alice.take(two).event is Event.IGNORED
    four = message(bob.take(three).replies[0])
    assert bob.take(three).event is Event.IGNORED
    assert bob.take(one).event is Event.IGNORED
    alice.take(four)
    for late in (two, four):
        assert alice.take(late).event is Event.IGNORED
    exchange(alice, bob)
    exchange(bob, alice)


@profiles
def test_an_exact_repetition_is_told_from_a_forgery(profile: Profile) -> None:
    alice, bob = established(profile)
    sent = [alice.send(b"<body>%d</body>" % i) for i in range(70)]
    for stanza in sent:
        assert bob.take(stanza).event is Event.CONTENT
    before = bob.conversation
    for stanza in sent[-64:]:
        assert bob.take(stanza).event is Event.REPEATED
    assert bob.conversation == before
    exchange(alice, bob)
    assert bob.take(sent[0]).event is Event.BROKEN  # too long ago to know


# ---------------------------------------------------------------------------------------------------- retained secrets
def test_the_next_session_continues_the_chain_and_drops_the_old_secret_when_confirmed() -> None:
    alice, bob = established()
    first = alice.retained
    assert len(first.secrets) == 1
    assert first == bob.retained
    alice.conversation = bob.conversation = None
    assert negotiate(alice, bob) == (Event.ESTABLISHED, Event.ESTABLISHED)
    assert alice.session.chain is bob.session.chain is Chain.CONTINUED
    assert len(alice.retained.secrets) == len(bob.retained.secrets) == 2
    exchange(alice, bob)
    exchange(bob, alice)
    assert [len(end.retained.secrets) for end in (alice, bob)] == [1, 1]
    assert alice.retained == bob.retained != first


def test_a_lost_last_message_does_not_break_the_chain() -> None:
    alice, bob = established()
    alice.conversation = bob.conversation = None
    negotiate(alice, bob, at=4, change=with_field("nonce", "AAAAAAAAAAA="))
    assert (alice.last.event, bob.last.event) == (Event.FAILED, Event.ESTABLISHED)
    alice.conversation = bob.conversation = None
    assert negotiate(alice, bob) == (Event.ESTABLISHED, Event.ESTABLISHED)
    assert alice.session.chain is bob.session.chain is Chain.CONTINUED


def test_lost_secrets_are_noticed_by_the_side_that_kept_its_own() -> None:
    alice, bob = established()
    alice.conversation = bob.conversation = None
    bob.retained = Retained()
    negotiate(alice, bob)
    assert (alice.session.chain, bob.session.chain) == (Chain.BROKEN, Chain.FIRST)
    assert not alice.session.verified


def test_a_confirmed_sas_counts_for_the_sessions_that_continue() -> None:
    alice, bob = established()
    assert alice.conversation is not None
    alice.conversation, alice.retained = confirm(alice.conversation, alice.retained)
    assert alice.session.verified
    exchange(bob, alice)
    alice.conversation = bob.conversation = None
    negotiate(alice, bob)
    assert alice.session.verified
    assert not bob.session.verified


def test_the_number_of_secrets_is_not_seen() -> None:
    counts = set()
    for known in range(4):
        alice, bob = End(f"a{known}"), End(f"b{known}")
        for _ in range(known):
            bob.retained = Retained()
            negotiate(alice, bob)
            alice.conversation = bob.conversation = None
        bob.take(alice.initiate())
        payload = alice.take(message(bob.last.replies[0])).replies[0].payload
        counts.add(payload.count(b"<value>"))
    assert len(counts) == 1


def test_no_more_than_eight_secrets_are_kept() -> None:
    alice, bob = End("a"), End("b")
    for _ in range(12):
        bob.retained = Retained()
        negotiate(alice, bob)
        alice.conversation = bob.conversation = None
    assert len(alice.retained.secrets) == 8


# ---------------------------------------------------------------------------------------------------- ending
@profiles
def test_an_ended_session_is_acknowledged_and_then_forgotten_by_both(profile: Profile) -> None:
    alice, bob = established(profile)
    on_its_way = bob.send(b"<body>late</body>")
    encrypted, plain_form = alice.end()
    assert alice.last.event is Event.ENDING
    assert not (alice.conversation and alice.conversation.active)
    assert kind_of(encrypted) is Payload.ENCRYPTED
    assert kind_of(plain_form) is Payload.TERMINATE
    out = bob.take(encrypted)
    assert (out.event, out.conversation) == (Event.ENDED, None)
    assert bob.take(plain_form).event is Event.IGNORED
    late = alice.take(on_its_way)
    assert (late.event, [e.text for e in late.content]) == (Event.CONTENT, ["late"])
    assert alice.take(message(out.replies[0])).event is Event.ENDED
    assert alice.conversation is None


def test_both_ending_at_once_end() -> None:
    alice, bob = established()
    from_alice, from_bob = alice.end(), bob.end()
    assert alice.take(from_bob[0]).event is Event.ENDED
    assert bob.take(from_alice[0]).event is Event.ENDED
    assert alice.conversation is bob.conversation is None


def test_a_plain_termination_ends_the_session_and_nothing_is_sent_for_it() -> None:
    alice, bob = established()
    out = bob.take(alice.end()[1])
    assert (out.event, out.conversation, out.replies) == (Event.ENDED_UNAUTHENTICATED, None, ())


def test_a_plain_decline_ends_an_active_session() -> None:
    _, bob = established()
    out = bob.take(ssn_form("submit", ("accept", "0")))
    assert (out.event, out.conversation) == (Event.ENDED_UNAUTHENTICATED, None)


def test_a_state_that_may_be_old_is_abandoned_without_its_keys() -> None:
    alice, _ = established()
    assert alice.conversation is not None
    out = abandon(alice.conversation)
    assert out.conversation is None
    assert [r.kind for r in out.replies] == [Kind.NEGOTIATION]
    assert out.replies[0].payload == termination()
    asking = End("x")
    asking.initiate()
    assert asking.conversation is not None
    assert abandon(asking.conversation).event is Event.ENDED


def test_an_error_stanza_ends_an_active_session() -> None:
    alice, _ = established()
    out = alice.take(error_stanza("service-unavailable"))
    assert (out.event, out.conversation, out.condition) == (Event.LOST, None, "service-unavailable")


def test_our_own_stanza_bounced_counts_as_the_error_it_came_with() -> None:
    alice, _ = established()
    bounced = alice.send(HELLO)
    error = error_stanza("item-not-found").elements[1]
    returned = Element(bounced.namespace, "message", (("type", "error"),), (*bounced.children, error))
    assert (alice.take(returned).event, alice.last.condition) == (Event.LOST, "item-not-found")


def test_an_encrypted_error_of_the_peers_is_content() -> None:
    alice, bob = established()
    stanza = alice.send(HELLO)
    as_error = Element(stanza.namespace, "message", (("type", "error"),), stanza.children)
    assert bob.take(as_error).event is Event.CONTENT


def test_a_stanza_of_a_forgotten_session_tells_the_peer_so() -> None:
    alice, bob = established()
    bob.conversation = None
    out = bob.take(alice.send(HELLO))
    assert (out.event, out.conversation) == (Event.UNKNOWN, None)
    assert [r.kind for r in out.replies] == [Kind.ERROR, Kind.NEGOTIATION]
    assert alice.take(message(out.replies[0])).event is Event.LOST
    assert alice.take(message(out.replies[1])).event is Event.IGNORED


@pytest.mark.parametrize(("profile", "last"), [(Profile.DEPLOYED, Kind.NEGOTIATION), (Profile.LETTER, Kind.ENCRYPTED)])
def test_a_lost_stanza_breaks_the_session_and_says_so_in_the_peers_profile(profile: Profile, last: Kind) -> None:
    alice, bob = established(profile)
    alice.send(b"<body>lost</body>")
    out = bob.take(alice.send(HELLO))
    assert (out.event, out.conversation, out.condition) == (Event.BROKEN, None, "not-acceptable")
    assert [r.kind for r in out.replies] == [Kind.ERROR, last]


def test_a_session_is_renegotiated_on_the_same_thread_while_the_old_one_still_serves() -> None:
    alice, bob = established()
    old_alice = alice.conversation
    asked = End("other-seed")
    answer = bob.take(asked.initiate())
    assert answer.event is Event.ANSWERED
    assert bob.conversation is not None
    assert bob.conversation.active
    alice.conversation = old_alice
    exchange(alice, bob)
    three = message(asked.take(message(answer.replies[0])).replies[0])
    out = bob.take(three)
    assert out.event is Event.ESTABLISHED
    asked.take(message(out.replies[0]))
    exchange(asked, bob)


def test_renegotiating_the_options_is_refused_and_the_session_stays() -> None:
    alice, bob = established()
    out = bob.take(ssn_form("form", ("renegotiate", "1")))
    assert (out.event, out.condition) == (Event.IGNORED, "feature-not-implemented")
    exchange(alice, bob)


# ---------------------------------------------------------------------------------------------------- misuse, the table
def test_sending_without_a_session_is_our_mistake() -> None:
    alice = End("a")
    alice.initiate()
    assert alice.conversation is not None
    with pytest.raises(Misuse):
        send(alice.conversation, HELLO)
    with pytest.raises(Misuse):
        confirm(alice.conversation, Retained())


def test_a_stanza_that_is_not_ours_is_ignored() -> None:
    out = receive(None, plain("<body>hi</body>"), terms=FAST, retained=Retained(), draw=End("a").draw)
    assert (out.event, out.conversation, out.replies) == (Event.IGNORED, None, ())
    assert kind_of(ssn_form("form", form_type="urn:other")) is None


def some_of_each() -> dict[Payload, Element]:
    """One stanza of each payload."""
    alice, bob = End("p"), End("q")
    one = alice.initiate()
    two = message(bob.take(one).replies[0])
    three = message(alice.take(two).replies[0])
    four = message(bob.take(three).replies[0])
    alice.take(four)
    encrypted = alice.send(HELLO)
    terminate = alice.end()[1]

    def as_result(x: Element) -> Element:
        return Element(x.namespace, x.name, (("type", "result"),), x.children)

    declined = End("r")
    declined.initiate()
    renegotiate = ssn_form("form")
    found = [
        one,
        two,
        three,
        four,
        declined.end()[0],
        terminate,
        with_form(terminate, as_result),
        renegotiate,
        encrypted,
    ]
    found.append(error_stanza(""))
    return {kind: stanza for stanza in found if (kind := kind_of(stanza)) is not None}


def in_each_stage() -> dict[Stage, End]:
    """An end in each stage."""
    stages = {Stage.NONE: End("n"), Stage.OFFERED: End("o"), Stage.ANSWERED: End("w"), Stage.PROVED: End("v")}
    stages[Stage.OFFERED].initiate()
    asker = End("z")
    stages[Stage.ANSWERED].take(asker.initiate())
    stages[Stage.PROVED].initiate()
    helper = End("y")
    helper.conversation = None
    stages[Stage.PROVED].take(message(helper.take(End("v").initiate()).replies[0]))
    stages[Stage.ACTIVE] = established(seed="active")[0]
    stages[Stage.CLOSING] = established(seed="closing")[0]
    stages[Stage.CLOSING].end()
    return stages


def test_all_stages_and_payloads_can_be_reached_and_the_table_names_no_others() -> None:
    assert set(some_of_each()) == set(Payload)
    for stage, reached in in_each_stage().items():
        assert (reached.conversation.stage if reached.conversation else Stage.NONE) is stage
    assert set(TABLE) == set(Stage)


@pytest.mark.parametrize("payload", list(Payload))
@pytest.mark.parametrize("stage", list(Stage))
def test_what_the_table_does_not_permit_changes_nothing(stage: Stage, payload: Payload) -> None:
    taker = in_each_stage()[stage]
    before = taker.conversation
    out = taker.take(some_of_each()[payload])
    if payload not in TABLE[stage]:
        assert (out.event, out.conversation, out.replies) == (Event.IGNORED, before, ())
    else:
        assert out.event is not Event.ESTABLISHED
        assert out.event is not Event.CONTENT


def test_ending_what_is_ending_says_nothing_more() -> None:
    closing = in_each_stage()[Stage.CLOSING]
    assert closing.conversation is not None
    out = end(closing.conversation)
    assert (out.event, out.conversation, out.replies) == (Event.ENDED, None, ())


def test_no_secret_is_shown_by_the_repr_of_any_state() -> None:
    alice, bob = established()
    shown = repr(alice.outcomes) + repr(bob.outcomes) + repr(alice.retained)
    for taker in (alice, bob):
        for outcome in taker.outcomes:
            state = outcome.conversation
            secrets = [k.secret for k in taker.retained.secrets]
            if state and state.offered:
                secrets += [p.exponent for p in state.offered.pairs]
            if state and state.answered:
                secrets.append(state.answered.pair.exponent)
            if state and state.proved:
                secrets.append(state.proved.shared)
            if state and state.session:
                way, back = state.session.sending, state.session.receiving
                secrets += [way.cipher_key, way.mac_key, back.cipher_key, back.mac_key]
            for secret in secrets:
                assert repr(secret) not in shown
                assert secret.hex() not in shown


def test_a_conversation_knows_its_stage() -> None:
    assert Conversation("t").stage is Stage.CLOSING
