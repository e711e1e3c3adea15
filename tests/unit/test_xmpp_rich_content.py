"""What messages hold beside their text, between the user's clients and the other network (docs/content.md)."""

from dataclasses import replace

import msgspec
import pytest

from adapters.xmpp.inside_references import SENT_CHUNK, SENT_CHUNKS
from adapters.xmpp.inside_state import Queued, Shown
from adapters.xmpp.names import ENCRYPTED, PLAIN, STATE
from crypto.content import Mark, Reaction, Reply, Style
from crypto.esession.profiles import Profile
from crypto.message import Assurance, Kind, Message, Read
from crypto.xml import Element, parse_content
from tests.unit.test_xmpp_once import SENDS, once, sending
from tests.unit.test_xmpp_policy import site_with
from tests.unit.xmpp_site import ALICE, BOB, Alice, Site

CORRECT, REPLY, FALLBACK = "urn:xmpp:message-correct:0", "urn:xmpp:reply:0", "urn:xmpp:fallback:0"
REACTIONS, RETRACT, MARKERS = "urn:xmpp:reactions:0", "urn:xmpp:message-retract:1", "urn:xmpp:chat-markers:0"


class Listening(Alice):
    """A client that keeps all it is sent, as elements."""

    def __init__(self, jid: str = f"{ALICE}/desk") -> None:
        super().__init__(jid)
        self.heard: list[tuple[Element, ...]] = []

    def _content(self, content: tuple[Element, ...]) -> None:
        self.heard.append(content)
        if all(e.name != "sent" or e.elements[0].elements[0].child("jabber:client", "body") for e in content):
            super()._content(content)

    def last(self, namespace: str, name: str) -> Element | None:
        """That element of the last message it was sent."""
        return next((e for e in self.heard[-1] if (e.namespace, e.name) == (namespace, name)), None)


def talking(profile: Profile = Profile.LETTER, **options: str) -> tuple[Site, Listening]:
    """A session, with a client that listens."""
    site = Site()
    if options:
        site.bob = replace(site.bob, options={name.replace("_", "-"): value for name, value in options.items()})
        account = replace(site.step.account, contacts=(site.bob, *site.step.account.contacts[1:]))
        site.step.account = account
    alice = Listening()
    site.alice = alice
    site.established(profile)
    return site, alice


def say(site: Site, xml: str, id_: str) -> None:
    """Alice's client sends content."""
    origin = f"<origin-id xmlns='urn:xmpp:sid:0' id='{id_}'/><request xmlns='urn:xmpp:receipts'/>"
    site.alice.put((xml + origin).encode(), id_)
    site.run()


def tell(site: Site, message: Message) -> str:
    """Bob's message goes to Alice; the id of its stanza."""
    site.do(lambda: site.half.to_network(site.step, site.bob, message))
    site.run()
    return site.stanza_ids()[-1]


def stanza_of(site: Site, message: Message) -> str:
    """The id under which Alice's client knows that message of Bob's."""
    before = len(site.alice.shown)
    tell(site, message)
    assert len(site.alice.shown) == before + 1
    assert isinstance(site.alice, Listening)
    texts = [h for h in site.alice.heard if any(e.name == "origin-id" for e in h)]
    return next(e.attribute("id") or "" for e in texts[-1] if e.name == "origin-id")


def last(site: Site) -> Message:
    """The last message that went to the other network."""
    return site.step.deliveries[-1][1]


# ---------------------------------------------------------------- text
def test_styled_text_is_handed_on_bare_with_its_marks() -> None:
    site, _ = talking()
    say(site, "<body>so *bold* of you</body>", "a1")
    assert (last(site).body, last(site).marks) == ("so bold of you", (Mark(3, 7, Style.STRONG),))
    say(site, "<body>2 *3* 4</body><unstyled xmlns='urn:xmpp:styling:0'/>", "a2")
    assert (last(site).body, last(site).marks) == ("2 *3* 4", ())


def test_an_emote_keeps_its_marks_in_place_both_ways() -> None:
    site, alice = talking()
    say(site, "<body>/me is *here*</body>", "a1")
    assert (last(site).kind, last(site).body, last(site).marks) == (Kind.EMOTE, "is here", (Mark(3, 7, Style.STRONG),))
    stanza_of(site, Message("$1", "is here", Kind.EMOTE, marks=(Mark(3, 7, Style.STRONG),)))
    assert alice.shown == ["/me is *here*"]


def test_text_of_the_other_network_is_never_styled_by_accident() -> None:
    site, alice = talking()
    stanza_of(site, Message("$1", "2 *3* 4"))
    assert any((e.namespace, e.name) == ("urn:xmpp:styling:0", "unstyled") for h in alice.heard for e in h)
    assert alice.shown == ["2 *3* 4"]


def test_an_ordinary_message_holds_nothing_but_a_text_its_id_and_what_it_asks_for() -> None:
    site, alice = talking()
    stanza_of(site, Message("$1", "hello"))
    assert [e.name for e in alice.heard[-1]] == ["body", "request", "origin-id", "markable"]
    queued = Queued("m-1-00", "$1", "hello", 7)
    assert len(msgspec.msgpack.encode(queued)) < 100


# ---------------------------------------------------------------- corrections
def test_a_correction_names_the_first_wording_whichever_the_client_named() -> None:
    site, _ = talking()
    say(site, "<body>helo</body>", "a1")
    say(site, f"<body>hello</body><replace xmlns='{CORRECT}' id='a1'/>", "a2")
    assert (last(site).id, last(site).body, last(site).replaces) == ("a2", "hello", "a1")
    say(site, f"<body>hello!</body><replace xmlns='{CORRECT}' id='a2'/>", "a3")
    assert last(site).replaces == "a1"


def test_a_correction_of_the_contacts_message_is_refused() -> None:
    site, alice = talking()
    theirs = stanza_of(site, Message("$1", "hello"))
    for number, xml in enumerate(
        (f"<body>x</body><replace xmlns='{CORRECT}' id='{theirs}'/>", f"<retract xmlns='{RETRACT}' id='{theirs}'/>")
    ):
        say(site, xml, f"a{number}")
        assert alice.errors[-1] == (f"a{number}", "not-allowed")
    assert site.step.deliveries == []


def test_a_correction_of_the_contacts_is_shown_as_one_and_in_words_to_old_peers() -> None:
    site, alice = talking()
    first = stanza_of(site, Message("$1", "helo"))
    stanza_of(site, Message("$2", "hello", replaces="$1"))
    replaced = [e for h in alice.heard for e in h if e.name == "replace"]
    assert [(e.namespace, e.attribute("id")) for e in replaced] == [(CORRECT, first)]
    assert alice.shown == ["helo", "hello"]
    old, gajim = talking(Profile.DEPLOYED)
    stanza_of(old, Message("$1", "helo"))
    stanza_of(old, Message("$2", "hello", replaces="$1"))
    assert gajim.shown == ["helo", "* corrected: hello"]
    assert {e.name for h in gajim.heard for e in h} <= {"body", "request", "origin-id"}


def test_a_correction_of_what_is_not_known_is_said_in_words() -> None:
    site, alice = talking()
    stanza_of(site, Message("$2", "hello", replaces="$unknown"))
    assert alice.shown == ["* corrected: hello"]


# ---------------------------------------------------------------- replies
def test_a_reply_is_handed_on_without_the_quotation_that_old_clients_read() -> None:
    site, _ = talking()
    theirs = stanza_of(site, Message("$1", "who is there?"))
    body = "&gt; who is there?\nit is *me*"
    fallback = f"<fallback xmlns='{FALLBACK}' for='{REPLY}'><body start='0' end='16'/></fallback>"
    say(site, f"<body>{body}</body><reply xmlns='{REPLY}' to='{BOB}' id='{theirs}'/>{fallback}", "a1")
    assert last(site).body == "it is me"
    assert last(site).marks == (Mark(6, 8, Style.STRONG),)
    assert last(site).reply == Reply("$1", "who is there?", by_user=False)


def test_a_reply_to_ones_own_message_says_so() -> None:
    site, _ = talking()
    say(site, "<body>one</body>", "a1")
    say(site, f"<body>two</body><reply xmlns='{REPLY}' to='{ALICE}' id='a1'/>", "a2")
    assert last(site).reply == Reply("a1", "", by_user=True)


def test_a_reply_to_what_nobody_knows_any_more_keeps_its_quotation() -> None:
    site, _ = talking()
    fallback = f"<fallback xmlns='{FALLBACK}' for='{REPLY}'><body start='0' end='9'/></fallback>"
    say(site, f"<body>&gt; what?\nno</body><reply xmlns='{REPLY}' id='m-9-00'/>{fallback}", "a1")
    assert last(site).body == "what?\nno"
    assert last(site).marks == (Mark(0, 5, Style.QUOTE),)
    assert last(site).reply is None


def test_a_reply_of_the_contacts_quotes_for_those_who_do_not_know_replies() -> None:
    site, alice = talking()
    say(site, "<body>who is there?</body>", "a1")
    stanza_of(site, Message("$1", "me\n> not you", reply=Reply("a1", "who is there?", by_user=True)))
    assert alice.shown == ["> who is there?\nme\n> not you"]
    content = next(h for h in alice.heard if any(e.name == "reply" for e in h))
    reply = next(e for e in content if e.name == "reply")
    assert (reply.attribute("id"), reply.attribute("to")) == ("a1", ALICE)
    fallback = next(e for e in content if e.name == "fallback")
    stretch = fallback.elements[0]
    assert fallback.attribute("for") == REPLY
    assert alice.shown[0][int(stretch.attribute("end") or 0) :] == "me\n> not you"
    stanza_of(site, Message("$2", "no", reply=Reply("$1", "me", by_user=False)))
    assert next(e for e in alice.heard[-1] if e.name == "reply").attribute("to") == BOB
    stanza_of(site, Message("$3", "hm", reply=Reply("$gone", "long ago")))
    assert alice.shown[-1] == "> long ago\nhm"


# ---------------------------------------------------------------- reactions and retractions
def test_reactions_are_a_set_each_way() -> None:
    site, alice = talking()
    theirs = stanza_of(site, Message("$1", "good news"))
    inner = "<reaction>👍</reaction><reaction>🎉</reaction><reaction>👍</reaction><reaction> </reaction>"
    say(site, f"<reactions xmlns='{REACTIONS}' id='{theirs}'>{inner}</reactions>", "a1")
    assert (last(site).body, last(site).reaction) == ("", Reaction("$1", ("👍", "🎉")))
    say(site, f"<reactions xmlns='{REACTIONS}' id='{theirs}'/>", "a2")
    assert last(site).reaction == Reaction("$1", ())
    assert alice.acknowledged == ["a1", "a2"]
    say(site, "<body>mine</body>", "a3")
    tell(site, Message("$2", "", reaction=Reaction("a3", ("❤️",))))
    content = next(h for h in alice.heard if any(e.name == "reactions" for e in h))
    shown = next(e for e in content if e.name == "reactions")
    assert (shown.attribute("id"), [e.text for e in shown.elements]) == ("a3", ["❤️"])
    assert next(e for e in content if e.name == "fallback").attribute("for") == REACTIONS
    assert alice.shown[-1] == "* reacted to your message: ❤️"


def test_a_reaction_to_what_nobody_knows_is_said_in_words_both_ways() -> None:
    site, alice = talking()
    say(site, f"<reactions xmlns='{REACTIONS}' id='gone'><reaction>👍</reaction></reactions>", "a1")
    assert (last(site).kind, last(site).body) == (Kind.NOTICE, "* reacted to an earlier message: 👍")
    assert last(site).reaction is None
    stanza_of(site, Message("$2", "", reaction=Reaction("$gone", ("👍",))))
    assert alice.shown == ["* reacted to an earlier message: 👍"]
    assert not [e for h in alice.heard for e in h if e.name == "reactions"]


def test_messages_are_taken_back_each_way() -> None:
    site, alice = talking()
    say(site, "<body>oops</body>", "a1")
    body = "<body>/me retracted something</body>"
    say(site, f"{body}<retract xmlns='{RETRACT}' id='a1'/><fallback xmlns='{FALLBACK}' for='{RETRACT}'/>", "a2")
    assert (last(site).body, last(site).retracts) == ("", "a1")
    theirs = stanza_of(site, Message("$1", "oops"))
    tell(site, Message("$2", "", retracts="$1"))
    shown = [e for h in alice.heard for e in h if e.name == "retract"]
    assert [(e.namespace, e.attribute("id")) for e in shown] == [(RETRACT, theirs)]
    assert alice.shown[-1] == "* took an earlier message back"


def test_where_the_operator_says_so_nothing_is_taken_back() -> None:
    site, alice = talking(content_retractions="no")
    say(site, "<body>oops</body>", "a1")
    say(site, f"<retract xmlns='{RETRACT}' id='a1'/>", "a2")
    assert site.bodies() == ["oops"]
    assert alice.errors == [("a2", "not-allowed")]
    stanza_of(site, Message("$1", "oops"))
    tell(site, Message("$2", "", retracts="$1"))
    assert alice.shown[-1] == "* took an earlier message back"
    assert not [e for h in alice.heard for e in h if e.name == "retract"]


# ---------------------------------------------------------------- what was read
def test_what_the_user_has_read_is_told_and_only_moves_forward() -> None:
    site, _ = talking()
    ids = [stanza_of(site, Message(f"${n}", "hello")) for n in range(3)]
    for id_ in (ids[1], ids[0], ids[1], "m-1-ffff", "gone", ids[2]):
        site.alice.put(f"<displayed xmlns='{MARKERS}' id='{id_}'/>".encode())
        site.run()
    assert [s for _, s in site.step.signals] == [Read("$1"), Read("$2")]
    assert site.step.deliveries == []


def test_what_the_contact_has_read_is_shown_encrypted_and_never_stored() -> None:
    site, alice = talking()
    say(site, "<body>hello</body>", "a1")
    site.do(lambda: site.half.signalled(site.step, site.bob, Read("a1")))
    site.do(lambda: site.half.signalled(site.step, site.bob, Read("gone")))
    site.run()
    shown = [e for h in alice.heard for e in h if e.name == "displayed"]
    assert [(e.namespace, e.attribute("id")) for e in shown] == [(MARKERS, "a1")]
    assert len(site.sent(STATE)) == 1


def test_without_receipts_nobody_is_told_what_was_read() -> None:
    site, alice = talking(content_receipts="no")
    theirs = stanza_of(site, Message("$1", "hello"))
    assert [e.name for e in alice.heard[-1]] == ["body", "request", "origin-id"]
    site.alice.put(f"<displayed xmlns='{MARKERS}' id='{theirs}'/>".encode())
    site.run()
    say(site, "<body>hello</body>", "a1")
    site.do(lambda: site.half.signalled(site.step, site.bob, Read("a1")))
    assert site.step.signals == []
    assert not site.sent(STATE)


# ---------------------------------------------------------------- places
def test_a_place_is_an_address_each_way() -> None:
    site, alice = talking()
    say(site, "<body>geo:52.52,13.40;u=35</body>", "a1")
    assert last(site).place == "geo:52.52,13.40;u=35"
    geoloc = "<geoloc xmlns='http://jabber.org/protocol/geoloc'><lat>52.5</lat><lon>13.4</lon></geoloc>"
    say(site, geoloc, "a2")
    assert (last(site).body, last(site).place) == ("geo:52.5,13.4", "geo:52.5,13.4")
    stanza_of(site, Message("$1", "Meet me", place="geo:52.5,13.4"))
    assert alice.shown == ["Meet me\ngeo:52.5,13.4"]
    stanza_of(site, Message("$2", "x", place="javascript:alert(1)"))
    assert alice.shown[-1] == "x"


# ---------------------------------------------------------------- ways a message may go
def test_other_clients_of_the_user_are_shown_the_whole_of_what_one_sent() -> None:
    site, _ = talking()
    phone = Listening(f"{ALICE}/phone")
    site.others.append(phone)
    site.resources(site.alice.jid, phone.jid)
    phone.start(thread="phone")
    site.run()
    say(site, "<body>helo</body>", "a1")
    say(site, f"<body>hello *you*</body><replace xmlns='{CORRECT}' id='a1'/>", "a2")
    say(site, f"<reactions xmlns='{REACTIONS}' id='a1'><reaction>👍</reaction></reactions>", "a3")
    copies = [e.elements[0].elements[0] for h in phone.heard for e in h if e.name == "sent"]
    assert [[e.name for e in c.elements] for c in copies] == [
        ["body", "origin-id"],
        ["body", "origin-id", "replace"],
        ["origin-id", "reactions"],
    ]
    assert copies[1].elements[2].attribute("id") == "a1"


def test_everything_survives_a_restart_and_goes_again_in_a_new_session() -> None:
    site, alice = talking()
    first = stanza_of(site, Message("$1", "helo"))
    alice.receipts = False
    tell(site, Message("$2", "*hello*", replaces="$1", marks=(Mark(0, 1, Style.STRONG),)))
    before = alice.heard[-1]
    site.start(resumed=False)
    site.run()
    alice.start()
    site.run()
    again = [h for h in alice.heard if any(e.name == "replace" for e in h)]
    assert len(again) >= 2
    assert again[-1] == again[0] == before
    assert next(e for e in before if e.name == "replace").attribute("id") == first


def test_a_message_kept_by_an_older_version_is_still_sent() -> None:
    old = {"stanza_id": "m-1-00", "message_id": "$1", "body": "hello", "position": 7, "plain": False}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(old), type=Queued) == Queued("m-1-00", "$1", "hello", 7)
    shown = {"typing": True, "typing_at_ms": 1, "availability": "", "status": "", "at_ms": 2}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(shown), type=Shown).read == 0


def test_unencrypted_contacts_are_written_to_in_words() -> None:
    site = Site(Assurance.NONE)
    site.arrive(f"<message from='{ALICE}/desk' to='{BOB}' type='chat' id='p1'><body>hi *you*</body></message>".encode())
    assert last(site).marks == (Mark(3, 6, Style.STRONG),)
    for message in (Message("$1", "helo"), Message("$2", "hello", replaces="$1")):
        site.do(lambda message=message: site.half.to_network(site.step, site.bob, message))  # type: ignore[misc]
    site.run()
    assert site.alice.notices == ["helo", "* corrected: hello"]
    assert [set(c.values) for c in site.sent(PLAIN)] == [{"from", "to", "id", "body"}] * 2


def test_the_last_1024_messages_can_be_referred_to_and_no_record_grows() -> None:
    site, _ = talking()
    for n in range(SENT_CHUNK * (SENT_CHUNKS + 4)):
        site.message("hello", f"${n}")
        if n % 16 == 0:
            site.run()
    site.run()
    chunks = list(site.records.names("sent/bob/"))
    assert len(chunks) <= SENT_CHUNKS + 1
    ids = site.stanza_ids()
    newest, oldest = ids[-1], next(i for i in ids if i.startswith("m-1-"))
    for id_ in (newest, oldest):
        say(site, f"<body>re</body><reply xmlns='{REPLY}' id='{id_}'/>", f"a-{id_}")
    replies = [m.reply for _, m in site.step.deliveries]
    assert replies[0] == Reply(f"${SENT_CHUNK * (SENT_CHUNKS + 4) - 1}", "", by_user=False)
    assert replies[1] is not None
    assert replies[1].to == oldest


def test_an_id_with_another_tail_is_not_taken_for_one_of_ours() -> None:
    site, _ = talking()
    theirs = stanza_of(site, Message("$1", "hello"))
    forged = theirs[:-1] + ("0" if theirs[-1] != "0" else "1")
    say(site, f"<body>re</body><reply xmlns='{REPLY}' id='{forged}'/>", "a1")
    assert last(site).reply == Reply(forged, "", by_user=None)


@pytest.mark.parametrize("name", ["replace", "retract", "reactions", "displayed", "reply", "fallback", "markup"])
def test_elements_without_what_they_need_change_nothing_and_break_nothing(name: str) -> None:
    site, _ = talking()
    namespaces = {
        "replace": CORRECT,
        "retract": RETRACT,
        "reactions": REACTIONS,
        "displayed": MARKERS,
        "reply": REPLY,
        "fallback": FALLBACK,
        "markup": "urn:xmpp:markup:0",
    }
    for attributes in ("", "id=''", f"id='{'x' * 300}'", "for='urn:xmpp:reply:0'", "start='9' end='1'"):
        say(site, f"<body>text</body><{name} xmlns='{namespaces[name]}' {attributes}/>", f"a{attributes}")
    for message in (m for _, m in site.step.deliveries):
        assert message.replaces is None
        assert message.retracts is None
        assert message.body in ("text", "* took a reaction back")


def test_nothing_of_it_stands_beside_the_encrypted_content() -> None:
    site, _ = talking()
    stanza_of(site, Message("$1", "helo"))
    say(site, "<body>mine</body>", "a1")
    tell(site, Message("$2", "hello", replaces="$1"))
    tell(site, Message("$3", "", reaction=Reaction("a1", ("👍",))))
    tell(site, Message("$4", "", retracts="$1"))
    for one in site.sent(ENCRYPTED):
        assert set(one.values) == {"from", "to", "id", "thread", "content"}
        names = {e.name for e in parse_content(bytes(one.values["content"].v))}  # type: ignore[arg-type]
        assert names <= {"c", "init"}


# ---------------------------------------------------------------- sealed alone
def test_a_stanza_that_is_sealed_alone_says_as_much_both_ways() -> None:
    site = sending(site_with(SENDS))
    alice = Listening()
    alice.terms = site.alice.terms
    site.alice = alice
    inner = "<origin-id xmlns='urn:xmpp:sid:0' id='{}'/>"
    once(site, "one", inside=f"<body>helo</body>{inner.format('a1')}")
    once(site, "two", inside=f"<body>*hello*</body><replace xmlns='{CORRECT}' id='a1'/>{inner.format('a2')}")
    assert (last(site).body, last(site).replaces, last(site).marks) == ("hello", "a1", (Mark(0, 5, Style.STRONG),))
    site.message("helo", "$1", site.bob)
    site.do(lambda: site.half.to_network(site.step, site.bob, Message("$2", "hello", replaces="$1")))
    site.do(lambda: site.half.to_network(site.step, site.bob, Message("$3", "", reaction=Reaction("a1", ("👍",)))))
    site.run()
    assert alice.shown == ["helo", "hello", "* reacted to your message: 👍"]
    elements = [e for heard in alice.heard for e in heard]
    first = next(e.attribute("id") for e in elements if e.name == "origin-id")
    assert [e.attribute("id") for e in elements if e.name == "replace"] == [first]
    assert [e.attribute("id") for e in elements if e.name == "reactions"] == ["a1"]
    assert alice.current is None
