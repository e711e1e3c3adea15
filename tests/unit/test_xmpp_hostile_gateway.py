"""What a gateway that was taken over, or a server, tries at the XMPP inside half."""

from typing import cast

import pytest

from adapters.xmpp.inside_state import MAX_QUEUED_OCTETS, SENT_AT_ONCE, Line
from adapters.xmpp.names import ENCRYPTED, NEGOTIATE, PLAIN
from bridge.wire.values import Opaque, Public, Sealed
from crypto.message import Assurance
from tests.unit.xmpp_site import ALICE, BOB, Alice, Site, receipt


def test_a_forged_receipt_counts_for_nothing_after_a_negotiation_was_held_up() -> None:
    site = Site().established()
    site.alice.receipts = False
    site.message("one", "$1")
    site.run()
    id_ = site.stanza_ids()[-1]
    site.lost = lambda _: True
    site.wait(60)  # no receipt: given up; the next negotiation is dropped, so that another profile is tried next
    assert "negotiation-timed-out" in site.step.codes()
    site.alice.write(receipt(id_), kind=None, thread=None, id_="r")
    site.run()
    assert site.step.done == []
    assert "receipt-unauthenticated" in site.step.codes()
    site.lost = lambda _: False
    site.alice.receipts = True
    site.wait(1300)
    assert site.step.done == [("bob", "$1")]


def test_presence_that_flickers_does_not_make_negotiations_without_end() -> None:
    site = Site()
    site.resources(site.alice.jid)
    site.message("one", "$1")
    for n in range(200):
        site.carried += (carried := site.step.take())
        for one in carried:
            if one.request == NEGOTIATE and "kind" not in one.values:
                thread = cast(Opaque, one.values["thread"]).v
                error = (
                    f"<message from='{site.alice.jid}' to='{BOB}/lockgate' type='error'><thread>{thread}</thread>"
                    "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
                    "<feature xmlns='http://jabber.org/protocol/feature-neg'/></message>"
                )
                site.arrive(error.encode())
        site.resources(*(() if n % 2 else (site.alice.jid,)))
    assert site.step.codes().count("session-offered") < 5


def test_long_messages_are_sent_in_several_steps_and_all_arrive() -> None:
    site = Site()
    texts = [f"{n:03d} ".ljust(140_000, "&") for n in range(20)]
    for n, text in enumerate(texts):
        site.message(text, f"${n}")
    site.resources(site.alice.jid)
    largest = 0
    while site.alice.outbox or site.step.carries:
        for one in site.step.take():
            site._to_alice(one)
        written, site.alice.outbox = site.alice.outbox, []
        for octets in written:
            before = len(site.step.carries)
            site.arrive(octets)
            fresh = [c.values["content"] for c in site.step.carries[before:] if c.request == ENCRYPTED]
            largest = max(largest, sum(len(cast(Sealed, content).v) for content in fresh))
    assert site.alice.shown == texts
    assert largest < 4 * SENT_AT_ONCE
    line = site.records.get("line/bob", Line)
    assert line is not None
    assert (line.waiting, line.octets) == (0, 0)


def test_texts_that_wait_are_bounded_by_their_octets() -> None:
    site = Site()
    text = "x" * 149_000
    for n in range(MAX_QUEUED_OCTETS // len(text) + 3):
        site.message(text, f"${n}")
    codes = {code for _, _, code in site.step.failures}
    assert codes == {"queue-full"}
    assert len(site.step.failures) == 3


@pytest.mark.parametrize("waiting", [100])
def test_unencrypted_messages_leave_by_a_window_too(waiting: int) -> None:
    site = Site(Assurance.NONE)
    for n in range(waiting):
        site.message(f"m{n}", f"${n}")
    site.arrive(f"<message from='{ALICE}/desk' to='{BOB}' type='chat' id='p'><body>hi</body></message>".encode())
    sent = []
    while carried := [one for one in site.step.take() if one.request == PLAIN]:
        assert len(carried) <= 32
        for one in carried:
            body = one.values["body"]
            assert isinstance(body, Public)
            sent.append(body.v.decode())
            answer = site.step.input("answer", PLAIN, network="xmpp", key=one.key)
            site.do(lambda answer=answer: site.half.answered(site.step, answer))  # type: ignore[misc]
    assert sent == [f"m{n}" for n in range(waiting)]
    assert len(site.step.done) == waiting


def test_a_stranger_at_the_users_address_is_counted_as_a_broken_chain_and_never_as_verified() -> None:
    site = Site().established()
    assert site.step.codes().count("chain-first") == 1
    assert site.half.trust(site.step, site.bob, "verify") == "ok"
    site.alice = Alice()
    site.alice.start(thread="another")
    site.run()
    assert site.step.codes().count("chain-broken") == 1
    assert not site.half.status(site.records, site.step.account)[0].verified
