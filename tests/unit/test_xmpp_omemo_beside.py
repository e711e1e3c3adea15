"""What messages hold beside text, by OMEMO; in clear beside its older form nothing counts but where it is allowed."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from adapters.xmpp.inside_omemo_beside import bare_content
from adapters.xmpp.inside_stanzas import Content
from adapters.xmpp.outside_stanzas import rendered
from adapters.xmpp.pep.names import PEP_EVENT, Items
from crypto.content import Mark, Reaction, Reply, Style
from crypto.message import Availability, Kind, Message, Presence, Read, Signal, Standing, Typing
from crypto.omemo.names import Namespace
from crypto.xml import Element, element, serialize
from tests.fuzz.fuzz_xmpp_content import leg
from tests.unit.omemo_site import AXOLOTL, BOTH, OMEMO_2, Device, OmemoSite
from tests.unit.xmpp_site import ALICE, BOB

ALL = {"omemo-beside": "all", "content-reactions": "yes"}
MARKERS, REACTIONS = "urn:xmpp:chat-markers:0", "urn:xmpp:reactions:0"


def replaces(id_: str) -> Element:
    """XEP-0308."""
    return element("urn:xmpp:message-correct:0", "replace", id=id_)


def retracts(id_: str) -> Element:
    """XEP-0424."""
    return element("urn:xmpp:message-retract:1", "retract", id=id_)


def answers(id_: str) -> Element:
    """XEP-0461."""
    return element("urn:xmpp:reply:0", "reply", id=id_, to=BOB)


def reacts(id_: str, *emojis: str) -> bytes:
    """XEP-0444."""
    return (
        f"<reactions xmlns='{REACTIONS}' id='{id_}'>".encode()
        + b"".join(f"<reaction>{e}</reaction>".encode() for e in emojis)
        + b"</reactions>"
    )


def quoted(start: int, end: int) -> bytes:
    """XEP-0428."""
    inner = f"<body start='{start}' end='{end}'/>"
    return f"<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'>{inner}</fallback>".encode()


@pytest.fixture
def site() -> Iterator[OmemoSite]:
    """One device of the older form; what stands beside its messages counts."""
    made = OmemoSite(AXOLOTL, options=ALL)
    yield made
    made.close()


@pytest.fixture
def careful() -> Iterator[OmemoSite]:
    """The same, where nothing was said."""
    made = OmemoSite(AXOLOTL, options={"content-reactions": "yes"})
    yield made
    made.close()


def begun(site: OmemoSite) -> tuple[Device, str, str]:
    """A message each way: the device, what hers is called between the halves, and his stanza's id."""
    device = site.devices[0]
    device.say("hello", "a1")
    site.run()
    site.message("hello yourself", "$1")
    site.run()
    return device, site.step.deliveries[0][1].id, device.ids[0]


def said(site: OmemoSite, device: Device, text: str, id_: str, *beside: Element | bytes) -> Message:
    """She writes; what the other half is handed."""
    octets = b"".join(e if isinstance(e, bytes) else serialize(e) for e in beside)
    device.say(text, id_, beside=octets)
    site.run()
    return site.step.deliveries[-1][1]


def written(site: OmemoSite, message: Message) -> None:
    """Bob's message goes to her."""
    site.do(lambda: site.half.to_network(site.step, site.bob, message))
    site.run()


def signalled(site: OmemoSite, signal: Signal) -> None:
    """She is told what is true of Bob for a moment."""
    site.do(lambda: site.half.signalled(site.step, site.bob, signal))
    site.run()


def bare(site: OmemoSite, device: Device, id_: str, *beside: Element | bytes) -> list[Message]:
    """Her server brings a stanza without ciphertext; what the other half is handed because of it."""
    before = len(site.step.deliveries)
    octets = b"".join(e if isinstance(e, bytes) else serialize(e) for e in beside)
    device.outbox.append(device._stanza(octets, id_))
    site.run()
    return [message for _, message in site.step.deliveries[before:]]


# ---------------------------------------------------------------- by default
def test_by_default_a_server_can_neither_change_nor_take_back_nor_make_up_anything(careful: OmemoSite) -> None:
    device, _, of_bob = begun(careful)
    lies = (replaces("a1"), retracts("a1"), answers(of_bob), reacts(of_bob, "👍"), quoted(0, 3))
    message = said(careful, device, "I do not agree", "a2", *lies)
    assert (message.body, message.replaces, message.retracts, message.reply, message.reaction) == (
        ("I do not agree", None, None, None, None)
    )
    assert bare(careful, device, "b1", retracts("a1")) == []
    assert bare(careful, device, "b2", reacts(of_bob, "👍")) == []
    assert [str(c.values["code"].v) for c in careful.sent("error")] == ["omemo-beside"] * 2
    assert bare(careful, device, "b3", element("jabber:client", "body", "in clear")) == []
    assert str(careful.sent("error")[-1].values["code"].v) == "omemo-plain"
    assert bare(careful, device, "b9", element(MARKERS, "displayed", id=of_bob)) == []
    assert careful.step.signals == []


def test_by_default_nothing_stands_beside_what_is_sent_but_the_request_for_a_receipt(careful: OmemoSite) -> None:
    device, hers, _ = begun(careful)
    for message in _of_bob(hers):
        written(careful, message)
    assert device.shown[1:] == [
        "* corrected: hello there",
        "> hello\nindeed",
        "* reacted to your message: 👍",
        "* took an earlier message back",
    ]
    for carried in careful.sent("omemo"):
        assert set(carried.values) == {"from", "to", "id", "form", "content"}


def _of_bob(hers: str) -> list[Message]:
    return [
        Message("$2", "hello there", replaces="$1"),
        Message("$3", "indeed", reply=Reply(hers, "hello", by_user=True)),
        Message("$4", "", reaction=Reaction(hers, ("👍",))),
        Message("$5", "", retracts="$1"),
    ]


# ---------------------------------------------------------------- where it counts
def test_where_it_counts_edits_and_answers_are_what_they_are(site: OmemoSite) -> None:
    device, hers, of_bob = begun(site)
    assert said(site, device, "hello!", "a2", replaces("a1")).replaces == hers
    answer = said(site, device, "> hello yourself\nindeed", "a3", answers(of_bob), quoted(0, 17))
    assert answer.reply == Reply("$1", "hello yourself", by_user=False)
    assert answer.body == "indeed"


def test_even_there_nothing_of_an_encrypted_text_is_taken_away(site: OmemoSite) -> None:
    device, _, of_bob = begun(site)
    message = said(site, device, "mind this", "a2", retracts("a1"), reacts(of_bob, "👍"))
    assert (message.body, message.retracts, message.reaction) == ("mind this", None, None)
    for number, (text, lie) in enumerate(
        (
            ("I do not agree", quoted(0, 8)),
            ("I do not\nagree", quoted(0, 9)),
            ("I do not\nagree", quoted(0, 8)),
            ("> a\nnot b", quoted(0, 8)),
            ("> a\nnot b", quoted(4, 8)),
            ("> not a", quoted(0, 4)),
        )
    ):
        message = said(site, device, text, f"a{number + 3}", answers(of_bob), lie)
        kept = message.body + "".join(mark.value for mark in message.marks)
        assert kept == text.removeprefix("> ") or kept == text.replace("> ", "")
        assert message.reply is not None


def test_even_there_the_contacts_messages_are_not_changed_and_a_text_is_encrypted_or_refused(site: OmemoSite) -> None:
    device, _, of_bob = begun(site)
    before = len(site.step.deliveries)
    device.say("what Bob never said", "a2", beside=serialize(replaces(of_bob)))
    site.run()
    assert bare(site, device, "b1", retracts(of_bob)) == []
    assert bare(site, device, "b2", element("jabber:client", "body", "in clear")) == []
    assert bare(site, device, "b3", element("jabber:client", "body", "in clear"), replaces("a1")) == []
    assert len(site.step.deliveries) == before
    assert [id_ for id_, _ in device.errors] == ["a2", "b1", "b2", "b3"]


def test_even_there_no_words_are_made_up(site: OmemoSite) -> None:
    device, _, of_bob = begun(site)
    for number, words in enumerate((("yes",), ("👍", "I agree"), ("1000",), ("да",))):
        assert bare(site, device, f"b{number}", reacts(of_bob, *words)) == []
    (message,) = bare(site, device, "b9", reacts(of_bob, "👍", "1️⃣"), element("jabber:client", "body", "made up"))
    assert message.reaction == Reaction("$1", ("👍", "1️⃣"))
    assert (message.body, message.standing) == ("", Standing.PLAIN)


def test_where_it_counts_messages_are_taken_back_and_it_is_told_what_was_read(site: OmemoSite) -> None:
    device, hers, of_bob = begun(site)
    (message,) = bare(site, device, "b1", retracts("a1"), element("jabber:client", "body", "taken back"))
    assert (message.retracts, message.body) == (hers, "")
    assert bare(site, device, "b2", element(MARKERS, "displayed", id=of_bob)) == []
    assert [signal for _, signal in site.step.signals] == [Read("$1")]
    assert device.errors == []


def test_where_it_counts_ids_stand_beside_what_is_sent_and_never_a_text(site: OmemoSite) -> None:
    device, hers, of_bob = begun(site)
    for message in _of_bob(hers):
        written(site, message)
    assert device.shown[1:] == [
        "hello there",
        "> hello\nindeed",
        "* reacted to your message: 👍",
        "* took an earlier message back",
    ]
    edit, answer, reaction, retraction = (rendered(c.request, c.values) for c in site.sent("omemo")[-4:])
    assert f"<replace xmlns='urn:xmpp:message-correct:0' id='{of_bob}'/>".encode() in edit
    assert b"<reply xmlns='urn:xmpp:reply:0' id='a1' to='alice@example.org'/>" in answer
    assert b"<body start='0' end='8'/>" in answer
    assert b"reaction" not in reaction
    assert f"<retract xmlns='urn:xmpp:message-retract:1' id='{of_bob}'/>".encode() in retraction
    for stanza in (edit, answer, reaction, retraction):
        assert b"<markable " in stanza
        assert not any(word in stanza for word in (b"hello", b"indeed", "👍".encode()))


def test_nothing_stands_beside_the_newer_form() -> None:
    site = OmemoSite(OMEMO_2, options=ALL)
    _, hers, _ = begun(site)
    for message in _of_bob(hers):
        written(site, message)
    for carried in site.sent("omemo"):
        assert set(carried.values) == {"from", "to", "id", "form", "content"}
    site.close()


# ---------------------------------------------------------------- what the contact has read
def test_what_the_contact_has_read_is_told_in_envelopes_to_devices_that_know_them() -> None:
    site = OmemoSite(BOTH, AXOLOTL)
    _, hers, _ = begun(site)
    signalled(site, Read(hers))
    both, old = site.devices
    assert [e.attribute("id") for content in both.signs for e in content if e.name == "displayed"] == ["a1"]
    assert (old.undecryptable, old.plain, old.signs) == (0, [], [])
    (told,) = (rendered(c.request, c.values) for c in site.sent("omemo-aside")[-1:])
    assert b"displayed" not in told
    assert Namespace.AXOLOTL.encode() not in told
    site.close()


def test_it_is_not_told_in_a_form_that_the_operator_left_out() -> None:
    for protocols, told in (("esession omemo:2", 1), ("esession axolotl", 0)):
        site = OmemoSite(OMEMO_2, options={"protocols": protocols})
        site.devices[0].say("hello", "a1")
        site.run()
        signalled(site, Read(site.step.deliveries[0][1].id))
        assert len(site.devices[0].signs) == told
        site.close()


def test_no_session_is_begun_to_tell_it() -> None:
    site = OmemoSite(OMEMO_2)
    device, hers, _ = begun(site)
    new = site.add(OMEMO_2)
    listed = serialize(site.nodes.lists[Namespace.OMEMO_2, ALICE]).decode()
    site.arrive(Items(f"{BOB}/lockgate", "omemo-devices", True, (listed,)).encode(), PEP_EVENT)
    site.run()
    for _ in range(3):
        signalled(site, Read(hers))
    assert len(device.signs) == 3
    for carried in site.sent("omemo", "omemo-aside"):
        assert f'rid="{new.peer.device_id}"'.encode() not in rendered(carried.request, carried.values)
    site.close()


def test_writing_and_being_there_are_not_told_by_omemo_and_writing_is_taken_from_envelopes() -> None:
    for form, heard in ((OMEMO_2, [Typing(True)]), (AXOLOTL, [])):
        site = OmemoSite(form, options=ALL)
        device, _, _ = begun(site)
        before = len(site.carried)
        for signal in (Typing(True), Presence(Availability.AVAILABLE, "here")):
            signalled(site, signal)
        assert site.carried[before:] == []
        state = element("http://jabber.org/protocol/chatstates", "composing")
        device.say("writing on", "a2", within=(state,), beside=serialize(state))
        site.run()
        assert [signal for _, signal in site.step.signals] == heard
        site.close()


@pytest.mark.parametrize("form", [AXOLOTL, OMEMO_2], ids=["axolotl", "omemo-2"])
def test_places_emotes_and_styles_pass_in_both_forms(form: tuple[Namespace, ...]) -> None:
    site = OmemoSite(form)
    device, _, _ = begun(site)
    assert said(site, device, "geo:51.5,-0.1", "a2").place == "geo:51.5,-0.1"
    emote = said(site, device, "/me *waves*", "a3")
    assert (emote.kind, emote.body, [mark.style for mark in emote.marks]) == (Kind.EMOTE, "waves", [Style.STRONG])
    written(site, Message("$2", "here", place="geo:51.5,-0.1"))
    written(site, Message("$3", "waves", kind=Kind.EMOTE, marks=(Mark(0, 5, Style.STRONG),)))
    assert device.shown[1:] == ["here\ngeo:51.5,-0.1", "/me *waves*"]
    site.close()


@pytest.mark.parametrize(
    ("signs", "passed"),
    [
        (("👍", "❤️", "👨‍👩‍👧", "👋🏽", "1️⃣"), True),
        (("🇳🇴", "🇩🇪", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🆗"), True),
        (("🅸🅰🅼🅳🅾🅽🅴",), False),
        (("Ⓘ", "Ⓓ", "Ⓘ", "Ⓓ"), False),
        (("🇮🇩🇮🇩",), False),
        (("㋑㋓",), False),
        (("🆗🆒",), False),
    ],
)
def test_signs_that_spell_something_are_no_signs(signs: tuple[str, ...], passed: bool) -> None:
    reactions = element(REACTIONS, "reactions", *(element(REACTIONS, "reaction", sign) for sign in signs), id="a1")
    at = leg()
    at = replace(at, contact=replace(at.contact, options={"omemo": "on", **ALL}))
    said = bare_content(at, Content(None, None, False, (), extras=(reactions,)))
    assert (said is not None) is passed
