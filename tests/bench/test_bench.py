"""That the measurements run and count what they say; never how fast it was."""

import asyncio

import pytest

from tests.bench import negotiations, omemo
from tests.bench.__main__ import enclave, memory, whole_path


def test_the_enclave_alone_carries_both_directions() -> None:
    found = enclave(messages=20, negotiations=2)
    assert all(value > 0 for value in found.values())


def test_negotiations_are_measured_in_every_group() -> None:
    found = negotiations.measured(2)
    assert all(value > 0 for value in found.values())
    assert sum(name.startswith("negotiation in group") for name in found) == 4 * len(negotiations.GROUPS)
    assert sum(name.startswith("unwanted") for name in found) == 5 * 8 + 2


def test_omemo_is_measured_in_both_forms() -> None:
    found = omemo.measured(2)
    assert all(value > 0 for value in found.values())
    assert len(found) == 2 * 2 * 5


def test_what_nobody_means_costs_the_gateway_less_than_the_limits_are_there_for() -> None:
    """At the limit, all the time, in the dearest group: not a whole CPU, on any machine that these tests run on."""
    found = negotiations.unwanted(2)
    assert found["unwanted, the dearest of them all the time: percent of one CPU"] < 100


def test_memory_is_told_for_every_number_of_sessions() -> None:
    assert memory(sessions=100).keys() >= {"memory: MiB with 1 sessions", "memory: KiB per idle session, 2 to 100"}


@pytest.mark.boundary
def test_the_whole_path_carries_both_directions() -> None:
    found = asyncio.run(whole_path(messages=20, idle_s=0.2))
    assert all(value >= 0 for value in found.values())
    assert found["idle: requests to the homeserver in an hour, for one account"] <= 120
