"""Ciphertext on its way: kept in a private, bounded folder, fetched once, uploaded once, gone afterwards."""

import asyncio
import os
from pathlib import Path

import pytest
from yarl import URL

from adapters.outside_api import Outcome
from bridge.downloads import Downloads, Load, Patience, Sink
from bridge.filing import FileDesk
from bridge.public_hosts import Forbidden, Hosts, is_loopback, is_public
from bridge.spool import Spool, spool_name
from bridge.wire.files import FILE_DROP, FILE_FETCH, FILE_FORGET, FILE_PART, FILE_UPLOAD
from bridge.wire.link import Carry
from bridge.wire.values import Address, Number, Opaque, Sealed, Value


# ---------------------------------------------------------------- the folder
def test_files_grow_at_their_end_and_repeated_octets_change_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    assert spool.store("a", 0, b"hello") == "ok"
    assert spool.store("a", 0, b"hello") == "ok"
    assert spool.store("a", 5, b" world") == "ok"
    assert spool.read("a", 3, 5) == b"lo wo"
    assert spool.read("a", 9, 100) == b"ld"
    assert spool.size("a") == 11
    assert spool.store("a", 12, b"!") == "begin-again"
    assert spool.store("a", 10, b"d!") == "begin-again"
    assert spool.store("b", 1, b"!") == "begin-again"
    spool.drop("a")
    assert (spool.read("a", 0, 1), spool.size("a"), list((tmp_path / "s").iterdir())) == (None, None, [])


def test_only_we_can_read_it_and_what_an_earlier_process_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "s"
    first = Spool(folder)
    first.store("a", 0, b"x")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert first.path("a").stat().st_mode & 0o777 == 0o600
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    assert Spool(folder).size("a") is None
    assert [path.name for path in folder.iterdir()] == ["link"]


def test_a_link_in_the_folder_leads_nowhere(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    spool.path("a").symlink_to(tmp_path / "victim")
    assert spool.store("a", 0, b"x") == "spool-full"
    assert not (tmp_path / "victim").exists()


def test_all_files_together_are_bounded_and_idle_ones_give_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("bridge.spool.time.monotonic", lambda: now[0])
    spool = Spool(tmp_path / "s", most=100)
    assert spool.store("old", 0, bytes(60)) == "ok"
    assert spool.store("new", 0, bytes(60)) == "spool-full"
    now[0] += 1000
    assert spool.store("new", 0, bytes(60)) == "ok"
    assert (spool.size("old"), spool.octets) == (None, 60)


def test_names_tell_files_of_different_accounts_apart() -> None:
    assert len({spool_name("in", "a", "b"), spool_name("in", "ab", ""), spool_name("out", "a", "b")}) == 3
    assert spool_name("in", "../..", "/etc").isalnum()


# ---------------------------------------------------------------- downloads
def _loader(*steps: bytes | Outcome | asyncio.Event) -> tuple[list[int], Load]:
    calls: list[int] = []

    async def load(sink: Sink) -> Outcome:
        calls.append(1)
        for step in steps:
            if isinstance(step, asyncio.Event):
                await step.wait()
            elif isinstance(step, Outcome):
                return step
            else:
                sink(step)
        return Outcome()

    return calls, load


async def test_a_file_is_loaded_once_and_handed_on_while_it_comes(tmp_path: Path) -> None:
    downloads, more = Downloads(Spool(tmp_path / "s")), asyncio.Event()
    calls, load = _loader(b"0123456789", more, b"abcde")
    first = await downloads.stretch("f", load, offset=0, size=6, most=100)
    assert first == Outcome(body=b"012345")
    waiting = asyncio.create_task(downloads.stretch("f", load, offset=6, size=6, most=100))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    more.set()
    assert (await waiting).body == b"6789ab"
    assert (await downloads.stretch("f", load, offset=12, size=6, most=100)).body == b"cde"
    assert (await downloads.stretch("f", load, offset=18, size=6, most=100)).body == b""
    assert calls == [1]
    downloads.drop("f")
    assert (await downloads.stretch("f", load, offset=0, size=3, most=100)).body == b"012"
    assert calls == [1, 1]
    await downloads.close()


async def test_more_octets_than_are_taken_end_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    downloads = Downloads(spool)
    _, load = _loader(bytes(10), bytes(10))
    outcome = await downloads.stretch("f", load, offset=0, size=20, most=15)
    assert outcome == Outcome("file-too-large")
    assert spool.octets == 0


async def test_a_failure_that_may_pass_is_tried_again_and_not_for_ever(tmp_path: Path) -> None:
    downloads = Downloads(Spool(tmp_path / "s"), patience_s=-1)
    calls, load = _loader(bytes(3), Outcome("unavailable", retry=True, retry_after_s=2.0))
    again = await Downloads(Spool(tmp_path / "t")).stretch("f", load, offset=0, size=5, most=9)
    assert (again.retry, again.retry_after_s) == (True, 2.0)
    assert (await downloads.stretch("f", load, offset=0, size=3, most=9)).body == bytes(3)
    final = await downloads.stretch("f", load, offset=3, size=5, most=9)
    assert final == Outcome("file-unavailable")
    assert calls == [1, 1]


async def test_what_is_forgotten_while_it_is_waited_for_is_gone(tmp_path: Path) -> None:
    downloads = Downloads(Spool(tmp_path / "s"))
    _, load = _loader(asyncio.Event())
    waiting = asyncio.create_task(downloads.stretch("f", load, offset=0, size=5, most=9))
    await asyncio.sleep(0.01)
    downloads.drop("f")
    assert (await waiting).code == "file-gone"


def test_patience_ends_only_while_it_fails() -> None:
    patience = Patience(0.0)
    failing = Outcome("x", retry=True)
    assert patience.judged("a", failing) == failing
    assert patience.judged("a", failing) == Outcome("file-unavailable")
    assert patience.judged("a", failing) == failing
    assert patience.judged("a", Outcome()) == Outcome()
    assert patience.judged("a", failing) == failing


# ---------------------------------------------------------------- requests
def _read(path: Path) -> bytes:
    return path.read_bytes()


class _Net:
    def __init__(self, served: bytes = b"") -> None:
        self.served, self.uploaded, self.outcome = served, b"", Outcome(body=b"{}")

    async def load(self, url: str, most: int, sink: Sink) -> Outcome:
        assert (url, most) == ("mxc://a/b", 100)
        sink(self.served)
        return Outcome()

    async def upload(self, path: Path, size: int, ending: str | None) -> Outcome:
        self.uploaded = _read(path)
        assert (len(self.uploaded), ending) == (size, None)
        return self.outcome


def _carry(request: str, **values: Value) -> Carry:
    return Carry(key="k", network="matrix", request=request, lane="l", values=dict(values))


def _part(offset: int, octets: bytes) -> Carry:
    return _carry(FILE_PART, transfer=Opaque(v="t"), offset=Number(v=offset), content=Sealed(v=octets))


async def test_what_is_stored_in_parts_is_uploaded_whole_and_forgotten(tmp_path: Path) -> None:
    desk, net = FileDesk(str(tmp_path / "s")), _Net()
    for offset, octets in ((0, b"abc"), (3, b"de"), (3, b"de")):
        assert await desk.carry("alice", _part(offset, octets), None) == Outcome()
    upload = _carry(FILE_UPLOAD, transfer=Opaque(v="t"), size=Number(v=5))
    assert (await desk.carry("alice", upload, None)).retry
    assert (await desk.carry("carol", upload, net)).code == "begin-again"
    assert (await desk.carry("alice", upload, net)).code == "ok"
    assert net.uploaded == b"abcde"
    assert os.listdir(tmp_path / "s") == []
    assert (await desk.carry("alice", upload, net)).code == "begin-again"
    assert (await desk.carry("alice", _part(9, b"x"), None)).code == "begin-again"


async def test_an_upload_that_may_succeed_later_keeps_what_it_needs(tmp_path: Path) -> None:
    desk, net = FileDesk(str(tmp_path / "s")), _Net()
    net.outcome = Outcome("unavailable", retry=True)
    await desk.carry("alice", _part(0, b"abc"), None)
    upload = _carry(FILE_UPLOAD, transfer=Opaque(v="t"), size=Number(v=3))
    assert (await desk.carry("alice", upload, net)).retry
    net.outcome = Outcome(body=b"{}")
    assert (await desk.carry("alice", upload, net)).code == "ok"
    await desk.carry("alice", _part(0, b"abc"), None)
    await desk.carry("alice", _carry(FILE_DROP, transfer=Opaque(v="t")), None)
    assert os.listdir(tmp_path / "s") == []


async def test_a_file_is_fetched_in_stretches_and_forgotten_when_that_is_said(tmp_path: Path) -> None:
    desk, net = FileDesk(str(tmp_path / "s")), _Net(b"0123456789")
    url = Address(v="mxc://a/b")
    ask = _carry(FILE_FETCH, url=url, offset=Number(v=4), size=Number(v=4), most=Number(v=100))
    assert (await desk.carry("alice", ask, None)).retry
    assert await desk.carry("alice", ask, net) == Outcome(body=b"4567")
    assert len(os.listdir(tmp_path / "s")) == 1
    await desk.carry("alice", _carry(FILE_FORGET, url=url), None)
    assert os.listdir(tmp_path / "s") == []
    await desk.close()


async def test_without_a_folder_no_file_is_carried(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    for folder in (None, str(tmp_path / "taken")):
        assert await FileDesk(folder).carry("alice", _part(0, b"x"), None) == Outcome("file-unavailable")


# ---------------------------------------------------------------- hosts
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "ff02::1",
        "2130706433",
        "localhost",
        "",
    ],
)
def test_addresses_that_are_not_of_the_public_internet(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_addresses_that_are(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://files.example.org/x",
        "ftp://files.example.org/x",
        "https://127.0.0.1/x",
        "https://127.1/x",
        "https://[::1]/x",
        "https://user@files.example.org/x",
        "https://0/x",
    ],
)
def test_urls_that_are_not_fetched_from(url: str) -> None:
    with pytest.raises(Forbidden):
        Hosts().require(URL(url, encoded=True))


def test_hosts_that_the_operator_named_and_where_our_own_files_are_may_be_anywhere() -> None:
    hosts = Hosts(["Files.Local", "10.0.0.1:5281"])
    for url in ("http://files.local/x", "https://files.local:99/x", "http://10.0.0.1:5281/x"):
        hosts.require(URL(url))
    with pytest.raises(Forbidden):
        hosts.require(URL("https://10.0.0.1/x"))
    hosts.trust(URL("https://10.0.0.2:5281/u"))
    hosts.require(URL("https://10.0.0.2:5281/x"))
    with pytest.raises(Forbidden):
        hosts.require(URL("http://10.0.0.2:5281/x"))
    with pytest.raises(Forbidden):
        hosts.require(URL("https://10.0.0.2:80/x"))


async def test_a_name_that_leads_into_our_own_network_is_not_resolved() -> None:
    hosts = Hosts()
    with pytest.raises(Forbidden):
        await hosts.resolve("localhost", 443)
    assert hosts.refused == {"localhost"}
    assert await Hosts(["localhost:443"]).resolve("localhost", 443)
    await hosts.close()


def test_loopback_is_told_by_name_and_address() -> None:
    assert all(map(is_loopback, ("localhost", "x.localhost", "127.0.0.1", "127.3.2.1", "::1")))
    assert not any(map(is_loopback, ("example.org", "10.0.0.1", "localhost.example.org", "")))
