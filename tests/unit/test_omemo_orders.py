"""Orders to the gateway itself over OMEMO: from which device they are taken, and codes to scan."""

import pytest

from adapters.control import inside_codes
from adapters.control import inside_words as words
from adapters.xmpp.inside_omemo_own import store_in
from crypto.omemo import device
from crypto.omemo.fingerprints import fingerprint, trust_uri, uri
from crypto.omemo.names import Namespace
from crypto.transfers.model import FILES_OFF
from tests.unit.codes_read import pictured, scanned
from tests.unit.omemo_orders_site import OmemoChat
from tests.unit.omemo_world import End
from tests.unit.xmpp_site import ALICE

DECISIONS = (
    "trust {own}",
    "TRUST {hex}",
    "trust {other}",
    "distrust {other}",
    "verify bob",
    "match 1234",
    "cancel bob",
)


def devices() -> tuple[End, End, End]:
    """Alice's phone and desktop, and a device that her server made up."""
    return End.make(ALICE, 11), End.make(ALICE, 22), End.make(ALICE, 33)


# ---------------------------------------------------------------- who may give orders
@pytest.mark.parametrize("order", DECISIONS)
def test_a_device_that_is_trusted_blindly_decides_nothing_not_even_about_itself(order: str) -> None:
    phone, _, planted = devices()
    chat = OmemoChat(phone, planted)
    assert chat.writes(phone, "help") == words.HELP
    own, other = fingerprint(planted.identity), fingerprint(phone.identity)
    said = chat.writes(planted, order.format(own=own, hex=planted.identity.hex().upper(), other=other))
    assert said == words.UNVERIFIED
    assert chat.states == {11: "blind", 33: "blind"}


def test_it_reads_and_is_told_what_that_is_worth() -> None:
    phone, _, _ = devices()
    chat = OmemoChat(phone)
    assert words.NOTE_UNVERIFIED in chat.writes(phone, "devices")
    assert fingerprint(phone.identity) in chat.writes(phone, "devices")


def test_a_device_whose_fingerprint_the_operator_compared_decides_about_the_others() -> None:
    phone, desktop, _ = devices()
    chat = OmemoChat(phone, desktop)
    chat.writes(phone, "help")
    chat.writes(desktop, "help")
    chat.verified(phone)
    assert chat.writes(phone, f"trust {fingerprint(desktop.identity)}") == "That is noted."
    assert chat.states == {11: "verified", 22: "verified"}
    assert words.NOTE_UNVERIFIED not in chat.writes(desktop, "devices")
    assert chat.writes(desktop, f"distrust {fingerprint(phone.identity)}") == "That is noted."
    assert chat.states == {11: "distrusted", 22: "verified"}


@pytest.mark.parametrize("order", DECISIONS)
def test_after_that_a_device_that_a_server_adds_is_neither_heard_nor_answered(order: str) -> None:
    phone, _, planted = devices()
    chat = OmemoChat(phone)
    chat.writes(phone, "help")
    chat.verified(phone)
    chat.joined(planted)
    own, other = fingerprint(planted.identity), fingerprint(phone.identity)
    assert chat.writes(planted, order.format(own=own, hex=planted.identity.hex(), other=other)) == ""
    assert chat.states[11] == "verified"
    assert chat.states.get(33, "undecided") == "undecided"
    assert "omemo-device-new" in chat.told
    assert chat.writes(phone, "help") == words.HELP


def test_nor_one_that_takes_the_number_of_the_verified_device() -> None:
    phone, desktop, _ = devices()
    posing = End.make(f"{ALICE} ", 11)
    chat = OmemoChat(phone, desktop)
    chat.writes(phone, "help")
    chat.writes(desktop, "help")
    chat.verified(phone)
    assert chat.writes(posing, f"distrust {fingerprint(desktop.identity)}") == ""
    assert chat.states == {11: "verified", 22: "blind"}


def test_a_decision_that_was_taken_back_is_not_taken_again_when_the_server_repeats_it() -> None:
    phone, desktop, _ = devices()
    chat = OmemoChat(phone, desktop)
    chat.writes(phone, "help")
    chat.writes(desktop, "help")
    chat.verified(phone)
    order = chat.sealed(phone, f"trust {fingerprint(desktop.identity)}")
    chat.stanza(order)
    assert chat.states[22] == "verified"
    chat.writes(phone, f"distrust {fingerprint(desktop.identity)}")
    for id_ in ("again", "o-1"):
        chat.stanza(order, id_)
        assert chat.states == {11: "verified", 22: "distrusted"}


def test_an_order_that_is_held_back_is_about_the_key_that_it_names_and_no_other() -> None:
    phone, desktop, _ = devices()
    chat = OmemoChat(phone, desktop)
    chat.writes(phone, "help")
    chat.verified(phone)
    order = chat.sealed(phone, f"trust {fingerprint(desktop.identity)}")
    posing = End.make(f"{ALICE}  ", 22)
    chat.writers = [each for each in chat.writers if each.end is not desktop]
    chat.joined(posing)
    chat.stanza(order)
    believed = {each.key for each in chat.known if each.state == "verified"}
    assert believed == {phone.identity.hex(), desktop.identity.hex()}
    assert chat.writes(posing, "devices") == ""


# ---------------------------------------------------------------- codes
def bob(chat: OmemoChat) -> tuple[int, bytes, bytes]:
    """Bob's device as it is published: its number, and its key in both forms."""
    found = next(leg.device for leg in chat.chamber.status(1).legs if leg.contact == "bob" and leg.device is not None)

    published = chat.inside(lambda step: device.public_bundle(store_in(step.records, "bob"), Namespace.OMEMO_2))
    return found.id, bytes.fromhex(found.key), published.signing_key


@pytest.mark.parametrize("client", ["", " kaidan"])
def test_a_code_comes_as_an_encrypted_picture_of_the_address_that_the_client_scans(client: str) -> None:
    phone, _, _ = devices()
    chat = OmemoChat(phone)
    said, file = chat.writes(phone, f"code Bob{client}").rsplit("\n", 1)
    id_, key, signing = bob(chat)
    wanted = trust_uri("bob@gate.example", key) if client else uri("bob@gate.example", {id_: key})
    assert wanted in said
    assert file.startswith("aesgcm://")
    assert pictured(chat.fetched(file)) == wanted
    assert (signing if client else key).hex() in wanted


def test_where_nothing_can_be_uploaded_it_comes_in_characters() -> None:
    phone, _, _ = devices()
    chat = OmemoChat(phone, uploads=False)
    said = chat.writes(phone, "code bob")
    lines = [line for line in said.splitlines() if line and set(line) <= set("█▀▄ ")]
    id_, key, _ = bob(chat)
    assert scanned(lines).decode() == uri("bob@gate.example", {id_: key})
    assert said.count("```") == 2


def test_who_is_no_device_has_no_code() -> None:
    phone, _, _ = devices()
    chat = OmemoChat(phone)
    assert chat.writes(phone, "code eve").startswith(words.NOT_FOUND)
    assert chat.writes(phone, "code").startswith(words.NO_NAME)


def test_fingerprints_name_the_address_of_either_kind() -> None:
    phone, _, _ = devices()
    chat = OmemoChat(phone)
    id_, key, signing = bob(chat)
    told = chat.writes(phone, "fingerprints bob").splitlines()
    assert uri("bob@gate.example", {id_: key}) in told
    kaidan = f"xmpp:bob@gate.example?trust-message;encryption=urn:xmpp:omemo:2;trust={signing.hex()}"
    assert kaidan in told
    assert fingerprint(key) in told


def test_only_so_many_pictures_are_kept_and_none_when_they_arrived() -> None:
    phone, _, _ = devices()
    chat = OmemoChat(phone)
    kept: list[int] = []
    for _ in range(3):
        chat.writes(phone, "code bob")
        chat.account.order("control", lambda step: kept.append(len(list(step.records.names("code/")))))
    assert max(kept) <= inside_codes.MOST


@pytest.mark.parametrize("size", [1, 17, 100, 300])
def test_any_text_that_fits_is_read_from_both_drawings(size: int) -> None:
    text = "xmpp:" + "x1;" * size
    assert pictured(inside_codes.picture(text)[0]) == text
    lines = list(inside_codes.drawn(text))
    assert scanned(lines).decode() == text
    # Scanners may rely on four modules of empty space around it.
    assert {*lines[:2], lines[-2]} == {"█" * len(lines[0])}
    assert {line[:4] + line[-4:] for line in lines[2:-2]} == {"█" * 8}


def test_a_file_that_the_user_sends_is_turned_away() -> None:
    phone, _, _ = devices()
    chat = OmemoChat(phone)
    assert chat.writes(phone, f"aesgcm://up.example/x.png#{'ab' * 44}") == ""
    assert chat.errors == [FILES_OFF]
