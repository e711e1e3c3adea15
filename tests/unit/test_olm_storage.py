"""Secret storage: recovery keys as people write them, secrets that only the right key opens."""

import base64
import contextlib
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import Misuse
from crypto.olm.errors import Malformed
from crypto.olm.storage import (
    StorageKey,
    WrongKey,
    description_of,
    key_from_passphrase,
    read_recovery_key,
    recovery_key,
    require_described,
    secret_in,
    stored,
)

KEY = StorageKey(bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
WRITTEN = "EsTc LW2K PGiF wKEA 3As5 g5c4 BXwk qeeJ ZJV8 Q9fu gUMN UE4d"
"""The known answer of other implementations for that key."""
OTHER = StorageKey(bytes(32))


def test_a_recovery_key_is_written_as_others_write_it() -> None:
    assert recovery_key(KEY) == WRITTEN
    assert read_recovery_key(WRITTEN) == KEY
    assert read_recovery_key(f"  {WRITTEN.replace(' ', '')}\n") == KEY


@given(st.binary(min_size=32, max_size=32))
def test_every_key_survives_being_written_down(octets: bytes) -> None:
    assert read_recovery_key(recovery_key(StorageKey(octets))).octets == octets


@given(st.integers(0, 47), st.sampled_from("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0Il"))
def test_a_wrong_letter_is_noticed(place: int, letter: str) -> None:
    text = WRITTEN.replace(" ", "")
    changed = text[:place] + letter + text[place + 1 :]
    if changed != text:
        with contextlib.suppress(Malformed):
            assert read_recovery_key(changed) != KEY  # the parity octet misses one slip in 256


@pytest.mark.parametrize("text", ["", "0", "EsTc", WRITTEN + "1", "é" * 48, "1" * 60])
def test_what_is_no_recovery_key_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        read_recovery_key(text)


def test_a_key_is_known_by_its_description() -> None:
    description = description_of(KEY, bytes([255] * 16))
    require_described(KEY, description)
    with pytest.raises(WrongKey):
        require_described(OTHER, description)
    assert base64.b64decode(cast(str, description["iv"]) + "==")[8] < 0x80


def test_padded_text_is_read_as_well() -> None:
    description = description_of(KEY, bytes(16))
    require_described(KEY, {**description, "iv": f"{description['iv']}==", "mac": f"{description['mac']}="})


@pytest.mark.parametrize(
    "change", [{"algorithm": "other"}, {"iv": None}, {"iv": "AA"}, {"mac": 7}, {"mac": "AA"}, {"iv": "!" * 22}]
)
def test_a_malformed_description_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        require_described(KEY, {**description_of(KEY, bytes(16)), **change})


@given(st.text(max_size=100), st.binary(min_size=16, max_size=16))
def test_a_secret_comes_back_and_only_by_its_own_name_and_key(secret: str, iv: bytes) -> None:
    secret = secret.encode("utf-8", "ignore").decode()
    content = stored(KEY, "k", "m.name", secret, iv)
    assert secret_in(KEY, "k", "m.name", content) == secret
    for key, name in ((OTHER, "m.name"), (KEY, "m.other")):
        with pytest.raises(WrongKey):
            secret_in(key, "k", name, content)
    with pytest.raises(Malformed):
        secret_in(KEY, "another", "m.name", content)


def test_a_changed_secret_is_refused() -> None:
    content: Any = stored(KEY, "k", "m.name", "secret", bytes(16))
    content["encrypted"]["k"]["ciphertext"] = "AAAAAAAA"
    with pytest.raises(WrongKey):
        secret_in(KEY, "k", "m.name", content)


def test_a_passphrase_stands_for_a_key() -> None:
    told = {"passphrase": {"algorithm": "m.pbkdf2", "salt": "MmMsAlty", "iterations": 1000, "bits": 256}}
    one = key_from_passphrase("correct horse", told)
    assert one == key_from_passphrase("correct horse", told)
    assert one != key_from_passphrase("battery staple", told)


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": "m.argon"},
        {"salt": 7},
        {"iterations": 0},
        {"iterations": 1 << 40},
        {"iterations": "9"},
        {"bits": 1},
    ],
)
def test_a_passphrase_that_is_not_described_is_refused(change: dict[str, Any]) -> None:
    told = {"algorithm": "m.pbkdf2", "salt": "MmMsAlty", "iterations": 1000, **change}
    with pytest.raises(Malformed):
        key_from_passphrase("correct horse", {"passphrase": told})


def test_the_key_is_in_no_text_of_it_and_has_one_size() -> None:
    assert "77076d" not in repr(KEY)
    with pytest.raises(Misuse):
        StorageKey(bytes(31))
