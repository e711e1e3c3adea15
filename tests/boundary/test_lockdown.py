"""The lockdown, tried from inside a real process: what it must not be able to do, and what it still can."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from bridge.spawn import ENCLAVE, environment
from tests.boundary.locked_child import FORBIDDEN, MEASURES

pytestmark = pytest.mark.boundary


@dataclass(frozen=True)
class Tried:
    """How a child ended. `lines`: what the measures achieved, then what came of the deed."""

    status: int
    lines: Sequence[str]
    errors: str

    @property
    def result(self) -> str:
        return self.lines[-1]


def tried(measures: str, deed: str, **changed: str) -> Tried:
    assert measures in MEASURES
    command = [sys.executable, "-P", "-m", "tests.boundary.locked_child", measures, deed]
    env = {**environment(ENCLAVE, {}), **changed}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    return Tried(done.returncode, done.stdout.splitlines(), done.stderr)


@pytest.mark.parametrize("deed", FORBIDDEN)
def test_a_forbidden_system_call_kills_the_process(deed: str) -> None:
    assert tried("all", deed).status == -signal.SIGSYS


@pytest.mark.parametrize(
    "deed",
    ["executable_memory", "executable_later", "mapped_descriptor", "dumpable_again", "thread", "late_import"],
)
def test_a_way_around_kills_the_process(deed: str) -> None:
    assert tried("all", deed).status == -signal.SIGSYS


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 is a table of x86_64")
def test_the_x32_table_is_refused() -> None:
    assert tried("all", "x32").status == -signal.SIGSYS


@pytest.mark.parametrize("deed", ["ordinary_work", "libraries", "identities", "omemo"])
def test_what_the_enclave_does_all_day_still_works(deed: str) -> None:
    done = tried("all", deed)
    assert (done.status, done.result) == (0, "done"), done


def test_an_exception_is_printed_nowhere() -> None:
    done = tried("all", "trace")
    assert done.status == 1
    assert "plaintext-7f3a" not in done.errors + "".join(done.lines)
    assert done.errors == ""


def test_landlock_alone_denies_files_and_signals() -> None:
    opened = tried("landlock", "open_file")
    if not opened.lines:
        pytest.skip("this kernel has no Landlock")
    assert opened.result == str(errno.EACCES)
    assert tried("landlock", "make_file").result == str(errno.EACCES)
    if int(opened.lines[0].removeprefix("abi ")) >= 6:
        assert tried("landlock", "signal_parent").result == str(errno.EPERM)


def test_the_namespaces_alone_leave_no_file_and_no_network() -> None:
    listed = tried("root", "list_root")
    if not listed.lines:
        pytest.skip("this host has no user namespaces")
    assert listed.result == "[]"
    assert tried("root", "open_file").result == str(errno.ENOENT)
    assert tried("root", "make_file").result in {str(errno.ENOENT), str(errno.EROFS)}
    assert tried("root", "interfaces").result == f"{errno.ENETUNREACH} ['lo']"


def test_the_filter_alone_denies_files_and_sockets() -> None:
    assert tried("seccomp", "open_file").status == -signal.SIGSYS
    assert tried("seccomp", "interfaces").status == -signal.SIGSYS


def test_an_allocator_that_keeps_freed_memory_is_noticed() -> None:
    done = tried("all", "ordinary_work", MALLOC_PERTURB_="0")
    assert f"freed-memory-overwritten={errno.EPERM}" in done.lines[0].split(",")
    done = tried("all", "ordinary_work", PYTHONMALLOC="pymalloc")
    assert f"freed-memory-overwritten={errno.EPERM}" in done.lines[0].split(",")
