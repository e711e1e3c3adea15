"""The lockdown's parts that can be looked at without locking anything down."""

import itertools
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.enclave import lockdown, seccomp
from crypto.enclave.landlock import ruleset_fields
from crypto.enclave.lockdown import MANDATORY, SECOND_WALL, Measure, Report

ENODATA = (0, 0, 0, 0, 0, 0)


def verdict(machine: seccomp.Machine, arch: int, number: int, arguments: Sequence[int] = ENODATA) -> int:
    """Runs the filter as the kernel would, on the packed program."""
    data = struct.pack("<iIQ6Q", number - (1 << 32) if number >= 1 << 31 else number, arch, 0, *arguments)
    code = seccomp.packed(seccomp.program(machine))
    steps = list(struct.iter_unpack("=HBBI", code))
    place, word = 0, 0
    while True:
        operation, if_true, if_false, operand = steps[place]
        place += 1
        match operation:
            case 0x20:
                (word,) = struct.unpack_from("<I", data, operand)
            case 0x06:
                return int(operand)
            case 0x15:
                place += if_true if word == operand else if_false
            case 0x35:
                place += if_true if word >= operand else if_false
            case 0x45:
                place += if_true if word & operand else if_false
            case _:
                raise AssertionError("the filter has an instruction that is not known here")


machines = pytest.mark.parametrize("machine", seccomp.MACHINES.values(), ids=seccomp.MACHINES.keys())
CHECKED = {"mmap", "mprotect", "prctl"}


@machines
def test_listed_calls_are_permitted(machine: seccomp.Machine) -> None:
    for name, number in machine.numbers.items():
        if name not in CHECKED:
            assert verdict(machine, machine.audit, number) == seccomp.ALLOW, name


@machines
def test_every_other_number_kills(machine: seccomp.Machine) -> None:
    for number in set(range(1024)) - set(machine.numbers.values()):
        assert verdict(machine, machine.audit, number) == seccomp.KILL_PROCESS, number


@machines
@given(number=st.integers(0, 2**32 - 1))
def test_no_number_out_of_the_table_is_permitted(machine: seccomp.Machine, number: int) -> None:
    if number not in machine.numbers.values():
        assert verdict(machine, machine.audit, number) == seccomp.KILL_PROCESS


@machines
def test_another_architecture_kills(machine: seccomp.Machine) -> None:
    others = {m.audit for m in seccomp.MACHINES.values()} - {machine.audit} | {0x40000003, 0x40000028, 0}
    for arch, number in itertools.product(others, machine.numbers.values()):
        assert verdict(machine, arch, number) == seccomp.KILL_PROCESS


@machines
@given(protection=st.integers(0, 2**64 - 1), flags=st.integers(0, 2**64 - 1))
def test_memory_is_anonymous_and_never_executable(machine: seccomp.Machine, protection: int, flags: int) -> None:
    permitted = not protection & 4
    got = verdict(machine, machine.audit, machine.numbers["mprotect"], (0, 0, protection, 0, 0, 0))
    assert (got == seccomp.ALLOW) == permitted
    got = verdict(machine, machine.audit, machine.numbers["mmap"], (0, 0, protection, flags, 0, 0))
    assert (got == seccomp.ALLOW) == (permitted and bool(flags & 0x20))


@machines
@given(option=st.integers(0, 2**32 - 1))
def test_prctl_may_only_name_memory(machine: seccomp.Machine, option: int) -> None:
    number = machine.numbers["prctl"]
    assert (verdict(machine, machine.audit, number, (option, 0, 0, 0, 0, 0)) == seccomp.ALLOW) == (option == 0x53564D41)
    assert verdict(machine, machine.audit, number, (0x53564D41, 0, 0, 0, 0, 0)) == seccomp.ALLOW
    assert verdict(machine, machine.audit, number, (4, 1, 0, 0, 0, 0)) == seccomp.KILL_PROCESS


def test_both_tables_hold_the_same_calls_where_both_have_them() -> None:
    only_x86_64 = seccomp.MACHINES["x86_64"].numbers.keys() - seccomp.MACHINES["aarch64"].numbers.keys()
    assert only_x86_64 == {"poll", "select", "epoll_wait"}
    assert seccomp.MACHINES["aarch64"].numbers.keys() <= seccomp.MACHINES["x86_64"].numbers.keys()


@pytest.mark.parametrize(
    ("abi", "fields"),
    [
        (1, (0x1FFF, 0, 0, 8)),
        (2, (0x3FFF, 0, 0, 8)),
        (3, (0x7FFF, 0, 0, 8)),
        (4, (0x7FFF, 3, 0, 16)),
        (5, (0xFFFF, 3, 0, 16)),
        (6, (0xFFFF, 3, 3, 24)),
        (7, (0xFFFF, 3, 3, 24)),
    ],
)
def test_landlock_handles_all_that_the_abi_knows(abi: int, fields: tuple[int, int, int, int]) -> None:
    assert ruleset_fields(abi) == fields


def achieved(*names: str) -> Report:
    return Report(tuple(Measure(name, True) for name in names))


def test_enforce_is_content_with_the_mandatory_measures_and_one_second_wall() -> None:
    for wall in SECOND_WALL:
        assert achieved(*MANDATORY, wall).sufficient("enforce")


@pytest.mark.parametrize("missing", sorted(MANDATORY))
def test_enforce_refuses_when_a_mandatory_measure_failed(missing: str) -> None:
    failed = Measure(missing, False, 1)
    report = Report((*achieved(*(MANDATORY - {missing}), "landlock").measures, failed))
    assert report.missing("enforce") == (missing,)
    assert not report.sufficient("enforce")
    assert report.sufficient("best-effort")


def test_enforce_refuses_without_a_second_wall() -> None:
    assert set(achieved(*MANDATORY).missing("enforce")) == SECOND_WALL


def test_a_probe_reports_every_measure_and_changes_nothing_here() -> None:
    report = lockdown.probe()
    names = [measure.name for measure in report.measures]
    assert set(names) >= MANDATORY | {"landlock", "memory-locked", "own-network", "own-user"}
    assert len(names) == len(set(names))
    with open("/proc/self/status") as status:
        assert "Seccomp:\t0\n" in status.read()
