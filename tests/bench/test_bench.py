"""That the measurements run and count what they say; never how fast it was."""

import asyncio

import pytest

from tests.bench import negotiations
from tests.bench.__main__ import enclave, memory, whole_path


def test_the_enclave_alone_carries_both_directions() -> None:
    found = enclave(messages=20, negotiations=2)
    assert all(value > 0 for value in found.values())


def test_negotiations_are_measured_in_every_group() -> None:
    found = negotiations.measured(2)
    assert all(value > 0 for value in found.values())
    assert len(found) == 2 * len(negotiations.GROUPS) + 1


def test_memory_is_told_for_every_number_of_sessions() -> None:
    assert memory(sessions=100).keys() >= {"memory: MiB with 1 sessions", "memory: KiB per idle session, 2 to 100"}


@pytest.mark.boundary
def test_the_whole_path_carries_both_directions() -> None:
    found = asyncio.run(whole_path(messages=20, idle_s=0.2))
    assert all(value >= 0 for value in found.values())
