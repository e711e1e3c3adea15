"""Fixtures that several kinds of tests share: real servers, started once and only when a test asks for them."""

import itertools
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio
from hypothesis import settings

from rig.bob.client import Bob
from rig.prosody import Prosody
from rig.synapse import MatrixAccount, Synapse

settings.register_profile("any-machine", deadline=None)  # a slow or busy machine breaks no property
settings.load_profile("any-machine")


class BobFactory(Protocol):
    """Starts a client of Bob's."""

    def __call__(self, account: MatrixAccount, *, strict: bool = False, cross_sign: bool = True) -> Awaitable[Bob]:
        """Logged in as a new device; see `rig.bob.client.Bob.login`."""


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def prosody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prosody]:
    """One Prosody for the whole run; take components with `.component()`, accounts with `.account(name)`."""
    with Prosody(tmp_path_factory.mktemp("prosody"), components=120) as server:
        yield server


@pytest.fixture(scope="session")
def synapse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    """One Synapse for the whole run; take accounts with `.account(name)`."""
    with Synapse(tmp_path_factory.mktemp("synapse")) as server:
        yield server


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A temporary folder whose path is short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="lg-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Makes a name that no other test uses: `unique("alice")` is `alice7`."""
    number = next(_numbers)
    return lambda stem: f"{stem}{number}"


@pytest_asyncio.fixture
async def bob_factory(tmp_path: Path) -> AsyncIterator[BobFactory]:
    """Starts Bob's client for an account and logs it in; all are stopped at the end of the test."""
    started: list[Bob] = []

    async def make(account: MatrixAccount, *, strict: bool = False, cross_sign: bool = True) -> Bob:
        bob = Bob(tmp_path, f"bob{len(started)}")
        started.append(bob)
        await bob.start()
        await bob.login(account, strict=strict, cross_sign=cross_sign)
        return bob

    yield make
    for bob in started:
        await bob.stop()
