"""The searches that the canary tests rely on find what is there: otherwise finding nothing would prove nothing."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rig.search import forms, in_files, in_memory, in_octets

NEEDLE = b"heron0123456789abcdef"


@pytest.mark.parametrize("skipped", range(7))
def test_a_needle_inside_base64_is_found_at_every_alignment(skipped: int) -> None:
    text = base64.b64encode(os.urandom(skipped) + NEEDLE + os.urandom(5))
    assert in_octets([NEEDLE], "here", text)


@pytest.mark.parametrize("coded", [NEEDLE, NEEDLE.hex().encode(), NEEDLE.decode().encode("utf-16"), NEEDLE + b"\xff"])
def test_a_needle_is_found_in_other_forms(coded: bytes) -> None:
    assert in_octets([NEEDLE], "here", b"\0\1" + coded + b"tail")


def test_nothing_is_found_where_nothing_is() -> None:
    assert in_octets([NEEDLE], "here", os.urandom(100_000)) == []


def test_the_forms_of_a_key_with_any_octets_are_found() -> None:
    key = bytes(range(240, 256)) * 2
    for skipped in range(3):
        for coded in (base64.b64encode, base64.urlsafe_b64encode):
            assert in_octets([key], "here", coded(b"x" * skipped + key + b"y"))
    assert all(len(form) >= 8 for form in forms(key).values())


def test_a_needle_in_a_file_is_found_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file.bin").write_bytes(b"\0" * 10_000 + NEEDLE)
    (found,) = in_files([NEEDLE], tmp_path)
    assert found.place.endswith("deep/file.bin")


@pytest.mark.skipif(os.geteuid() != 0, reason="reading the memory of another process needs root")
@pytest.mark.parametrize("held", [True, False])
def test_a_needle_in_the_memory_of_a_process_is_found(held: bool) -> None:
    kept = f"bytes.fromhex({NEEDLE[::-1].hex()!r})" + ("[::-1]" if held else "")
    program = f"kept = {kept}; print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = [find for find in in_memory([NEEDLE], process.pid, "child") if find.form == "as it is"]
        process.kill()
    assert bool(found) is held
