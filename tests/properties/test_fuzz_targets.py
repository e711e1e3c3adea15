"""Every fuzz target takes its whole corpus, and octets at random: only the refusals it declares come of it."""

import importlib
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rig.services import ROOT

TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in (ROOT / "tests" / "fuzz").glob("fuzz_*.py"))


def _target(name: str) -> Callable[[bytes], None]:
    found: Callable[[bytes], None] = importlib.import_module(f"tests.fuzz.fuzz_{name}").target
    return found


def _corpus(name: str) -> list[Path]:
    return sorted(path for path in (ROOT / "tests" / "corpus" / name).glob("*") if path.is_file())


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_corpus(name: str) -> None:
    corpus = _corpus(name)
    assert corpus, f"tests/corpus/{name} is empty"
    target = _target(name)
    for path in corpus:
        target(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_anything(name: str) -> None:
    target = _target(name)

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=2000))
    @example(b"")
    def anything(data: bytes) -> None:
        target(data)

    anything()


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_damaged_members_of_its_corpus(name: str) -> None:
    target = _target(name)
    for path in itertools.islice(_corpus(name), 15):
        data = path.read_bytes()
        for at in range(0, min(len(data), 4000), max(1, len(data) // 10)):
            target(data[:at])
            target(data[:at] + data[at + 1 :])
            target(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
