"""The wall: frames, closed unions, the permit table."""

import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.wire import control, link
from bridge.wire.codec import FROM_ENCLAVE, TO_ENCLAVE, TO_ENCLAVE_CONTROL, MalformedFrame
from bridge.wire.framing import MAX_FRAME, Deframer, FrameError, frame
from bridge.wire.permit import PERMITTED, Channel, Phase, Violation, Warden
from bridge.wire.values import Address, Code, Number, Opaque, RequestShape, Sealed
from tests.fuzz.fuzz_wire import target

CORPUS = Path(__file__).parent.parent / "corpus" / "wire"


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=8), st.integers(1, 50))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(payloads: list[bytes], cut: int) -> None:
    stream = b"".join(frame(payload) for payload in payloads)
    deframer = Deframer()
    found = [p for at in range(0, len(stream), cut) for p in deframer.feed(stream[at : at + cut])]
    assert found == payloads
    assert deframer.pending == 0


@pytest.mark.parametrize("head", [b"\0\0\0\0", b"\xff\xff\xff\xff", (MAX_FRAME + 1).to_bytes(4, "big")])
def test_an_empty_or_oversized_frame_ends_the_stream_before_it_is_kept(head: bytes) -> None:
    with pytest.raises(FrameError):
        Deframer().feed(head)


def test_a_payload_over_the_cap_is_not_framed() -> None:
    with pytest.raises(FrameError):
        frame(b"x" * (MAX_FRAME + 1))


def test_octets_of_all_values_survive_the_wall() -> None:
    body = bytes(range(256))
    entry = link.Input(position=1, account="a", source="arrival", network="xmpp", name="stanza", body=body)
    [payload] = Deframer().feed(TO_ENCLAVE.encode(entry))
    assert TO_ENCLAVE.decode(payload) == entry
    stepped = link.Stepped(
        position=1,
        account="a",
        step=1,
        carries=(link.Carry(key="k", network="n", request="r", lane="l", values={"body": Sealed(v=body)}),),
    )
    [payload] = Deframer().feed(FROM_ENCLAVE.encode(stepped))
    assert FROM_ENCLAVE.decode(payload) == stepped


HOSTILE = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b'{"t":"input"}',
    b'{"t":"nonsense"}',
    b'{"t":"hello","version":"1"}',
    b'{"t":"hello","version":1.5}',
    b'{"t":"hello","version":1,"more":0}',
    b'{"t":"evict","account":"../../etc"}',
    b'{"t":"evict","account":"A"}',
    b'{"t":"committed","account":"a","step":-1}',
    b'{"t":"restore","account":"a","records":[{"name":"n","version":0,"sealed":""}],"last":true}',
    b'{"t":"input","position":1,"account":"a","source":"order","network":"n","name":"n"}',
    b"[" * 100_000,
    b'{"t":"input","body":"\xff\xfe"}',
]


@pytest.mark.parametrize("payload", HOSTILE)
def test_what_is_not_of_the_union_is_refused_without_repeating_it(payload: bytes) -> None:
    with pytest.raises(MalformedFrame) as caught:
        TO_ENCLAVE.decode(payload)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_a_refusal_holds_nothing_of_what_was_refused() -> None:
    marker = "a-secret-marker"
    with pytest.raises(MalformedFrame) as caught:
        TO_ENCLAVE_CONTROL.decode(f'{{"t":"configure","sealing_key":"{marker}","accounts":[]}}'.encode())
    assert marker not in "".join(traceback.format_exception(caught.value))


def test_the_sealing_key_is_not_in_the_repr_of_the_order_that_carries_it() -> None:
    order = control.EnclaveConfigure(sealing_key=b"k" * 32, accounts=())
    assert "kkkk" not in repr(order)


def test_every_channel_begins_fresh_and_ends_at_the_first_request_out_of_order() -> None:
    warden = Warden(Channel.ENCLAVE_FROM_GATEWAY)
    with pytest.raises(Violation):
        warden.admit(link.Evict(account="a"))
    warden.admit(link.Hello(version=1))
    warden.admit(link.Evict(account="a"))
    with pytest.raises(Violation):
        warden.admit(link.Hello(version=1))


def test_no_request_of_one_channel_is_permitted_on_another() -> None:
    by_channel = {
        channel: {kind for (named, _), permits in PERMITTED.items() if named is channel for kind in permits}
        for channel in Channel
    }
    for channel, kinds in by_channel.items():
        others = set().union(*(by_channel[other] for other in Channel if other is not channel))
        assert kinds, channel
        assert not kinds & others, channel


def test_every_phase_that_a_request_leads_to_is_in_the_table() -> None:
    for (channel, _), permits in PERMITTED.items():
        for following in permits.values():
            assert (channel, following) in PERMITTED or following is Phase.CLOSING


def test_a_shape_fits_only_what_it_declares() -> None:
    shape = RequestShape(required={"to": Address, "body": Sealed}, optional={"index": Number})
    good = {"to": Address(v="a"), "body": Sealed(v=b"")}
    assert shape.fits(good)
    assert shape.fits({**good, "index": Number(v=1)})
    assert not shape.fits({"to": Address(v="a")})
    assert not shape.fits({**good, "other": Code(v="x")})
    assert not shape.fits({**good, "body": Opaque(v="x")})
    assert not shape.fits({**good, "body": b"plain"})


@pytest.mark.parametrize("seed", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_the_corpus_of_the_wire_crashes_nothing(seed: Path) -> None:
    target(seed.read_bytes())


@given(st.binary(max_size=400))
def test_no_octets_crash_the_wire(data: bytes) -> None:
    target(data)
