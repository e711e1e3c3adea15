"""Offline ESessions through the whole XMPP inside half: stanzas, presence, items, timers."""

from dataclasses import replace

from adapters.xmpp.inside_offline import ROTATE_MS
from adapters.xmpp.names import ENCRYPTED, ERROR, STANZA
from adapters.xmpp.outside_fetch import offline_stanza
from adapters.xmpp.pep.names import (
    FETCH,
    OFFLINE,
    OPTIONS,
    OPTIONS_SUBSCRIBERS,
    PEP_ITEMS,
    PEP_REQUESTS,
    PUBLISH,
    Items,
)
from bridge.wire.values import Code, Public
from crypto.esession.associations import Known, accept
from crypto.esession.identities import PublicIdentity
from crypto.esession.offline_pubkeys import read_pubkey
from crypto.esession.offline_sending import begin, choose
from crypto.xml import Element, parse, serialize
from tests.unit.esession_keys import ed25519, keyed
from tests.unit.fake_step import Carried
from tests.unit.offline_world import FAST, Publisher, Sender
from tests.unit.test_xmpp_offline import as_arrived, opened_by
from tests.unit.xmpp_site import ALICE, BOB, Site

RESOURCE = f"{BOB}/lockgate"


class Away(Site):
    """A site whose PEP services, and Alice's mailbox, are not played: requests to them are only noted."""

    def _to_alice(self, one: Carried) -> None:
        if one.request not in PEP_REQUESTS:
            super()._to_alice(one)


def site(*, known: bool = True) -> Site:
    """Bob's contact takes part in offline sessions; Alice's key was validated."""
    made = Away()
    made.alice.terms = keyed(ed25519("alice"), peer_keys=("key",))
    options = {"offline": "yes", "own-key": "key", "public-keys": "key hash"}
    made.bob = replace(made.bob, options=options)
    account = replace(made.step.account, contacts=(made.bob, *made.step.account.contacts[1:]))
    made.step.account = account
    if known:
        key = ed25519("alice").public
        made.records.put("known", accept(Known(), ALICE, key, validated=True))
    made.start(resumed=True)
    made.run()
    return made


def requested(at: Site, request: str) -> list[Carried]:
    """Requests of this name that have gone out."""
    at.run()
    return [c for c in (*at.carried, *at.step.carries) if c.request == request]


def options_of(at: Site) -> Element:
    """What Bob's contact published last for everybody."""
    found = [c.values["content"] for c in requested(at, PUBLISH) if c.values["node"] == Code(v=OPTIONS)]
    assert found
    assert isinstance(found[-1], Public)
    return parse(found[-1].v)


def from_alice(at: Site, body: str, *, who: str = "alice") -> bytes:
    """What Alice's client sends when it takes Bob's contact to be away."""
    form = options_of(at)
    alice = Sender(identity=ed25519(who), known=tuple(published_keys(at)))
    options = alice.judged(form, now_ms=at.step.now, publisher=BOB)
    chosen = choose(options, alice.offer, alice.identity.public)
    content = f'<body>{body}</body><origin-id xmlns="urn:xmpp:sid:0" id="{body}"/>'.encode()
    begun = begin(options, chosen, alice.identity, content, alice.dice, now_ms=at.step.now)
    return serialize(as_arrived(begun.init + begun.content))


def published_keys(at: Site) -> list[PublicIdentity]:
    """The keys that Bob's contact published."""
    found = [c.values["content"] for c in requested(at, PUBLISH) if c.values["node"] == Code(v="pubkey")]
    keys: list[PublicIdentity] = [
        read_pubkey(parse(c.v), jid=BOB, now_ms=at.step.now) for c in found if isinstance(c, Public)
    ]
    return keys


def test_a_text_that_was_sealed_to_the_contacts_options_reaches_the_other_network_once() -> None:
    at = site()
    stanza = from_alice(at, "while you were away")
    at.arrive(stanza, STANZA)
    at.arrive(stanza, STANZA)
    assert at.bodies() == ["while you were away"]
    assert not requested(at, ERROR)


def test_a_text_of_another_key_goes_nowhere_and_its_sender_is_told() -> None:
    at = site()
    at.arrive(from_alice(at, "let me in", who="mallory"), STANZA)
    assert at.bodies() == []
    assert [c.values["code"] for c in requested(at, ERROR)] == [Code(v="not-verified")]


def test_options_are_renewed_by_the_timer_alone() -> None:
    at = site()
    first = options_of(at)
    at.wait(ROTATE_MS / 1000 + 1)
    assert options_of(at) != first


def test_without_a_key_of_the_users_nothing_is_published() -> None:
    assert not requested(site(known=False), PUBLISH)


def test_a_message_for_a_user_who_is_away_is_sealed_and_comes_again_in_the_next_session() -> None:
    at, alice = site(), Publisher(resource="desk")
    form = alice.publish(FAST, now_ms=at.step.now)
    at.resources()
    at.message("are you there?", "$1")
    asked = requested(at, FETCH)
    assert [c.values["node"] for c in asked] == [Code(v=OPTIONS_SUBSCRIBERS)]
    items = Items(RESOURCE, OPTIONS_SUBSCRIBERS, True, (serialize(form).decode(),))
    at.arrive(items.encode(), PEP_ITEMS)
    (sent,) = requested(at, OFFLINE)
    assert b"are you there?" not in offline_stanza(dict(sent.values))
    assert opened_by(alice, sent)[0] == "are you there?"
    at.resources(at.alice.jid)
    at.run()
    again = [c for c in requested(at, ENCRYPTED) if c.values["id"] == sent.values["id"]]
    assert len(again) == 1, "under the same id"
    assert at.step.done == [("bob", "$1")]
