"""The client's files: what it uploads opens by the address it sends, and nothing that is not authentic gets a name."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytest_asyncio
from aiohttp import web

from client.account import Login
from client.file_commands import FileCommands
from client.files import FileFailed, fetched, is_file, uploaded
from client.front import Chat
from crypto.files.addresses import sealed_address
from crypto.files.streams import opener

LOGIN = Login("alice@example.org", "secret", "127.0.0.1", 5222, None, True)
OCTETS = bytes(range(256)) * 700


class Shelf:
    """A server that keeps what is put."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.refusing = 0
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        """One request."""
        if self.refusing:
            return web.Response(status=self.refusing)
        if request.method == "PUT":
            self.kept[request.path] = await request.read()
            assert request.headers["Authorization"] == "Bearer t"
            return web.Response(status=201)
        found = self.kept.get(request.path)
        return web.Response(status=404) if found is None else web.Response(body=found)


@pytest_asyncio.fixture
async def shelf() -> AsyncIterator[Shelf]:
    """One on loopback, without TLS: the address that is sent says https all the same."""
    made = Shelf()
    application = web.Application(client_max_size=1 << 24)
    application.router.add_route("*", "/{tail:.*}", made.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def _account(put: str, get: str) -> Any:
    """A connection whose server has a place for files."""

    class Uploads:
        async def find_upload_service(self, **_: object) -> dict[str, str]:
            return {"from": "files.example.org"}

        async def request_slot(self, *words: object, **_: object) -> Any:
            assert words[:2] == ("files.example.org", "file.jpg")
            headers = [{"name": "Authorization", "value": "Bearer t"}]
            return {"http_upload_slot": {"put": {"url": put, "headers": headers}, "get": {"url": get}}}

    return SimpleNamespace(plugin={"xep_0363": Uploads()}, register_plugin=lambda _: None)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A file with a telling name."""
    path = tmp_path / "Holidays with Bob.JPG"
    path.write_bytes(OCTETS)
    return path


async def test_what_is_uploaded_opens_by_its_address(shelf: Shelf, picture: Path) -> None:
    address = await uploaded(_account(f"{shelf.url}/f/1.jpg", "https://files.example.org/f/1.jpg"), LOGIN, picture)
    assert is_file(address)
    assert "Holidays" not in address
    found = sealed_address(address)
    running = opener(found.lock)
    assert running.opened(shelf.kept["/f/1.jpg"]) + running.finished() == OCTETS


async def test_two_uploads_of_one_file_have_nothing_in_common(shelf: Shelf, picture: Path) -> None:
    for number in (1, 2):
        await uploaded(_account(f"{shelf.url}/f/{number}", f"https://x/{number}"), LOGIN, picture)
    one, two = shelf.kept.values()
    assert sum(a == b for a, b in zip(one, two, strict=True)) < len(one) // 64


@pytest.mark.parametrize("status", [403, 413, 500])
async def test_a_server_that_does_not_take_it_is_named(shelf: Shelf, picture: Path, status: int) -> None:
    shelf.refusing = status
    with pytest.raises(FileFailed, match=str(status)):
        await uploaded(_account(f"{shelf.url}/f/1", "https://x/1"), LOGIN, picture)


async def test_a_place_without_tls_and_a_file_that_is_not_there_are_refused(picture: Path) -> None:
    with pytest.raises(FileFailed, match="https"):
        await uploaded(_account("https://x/1", "http://x/1"), LOGIN, picture)
    with pytest.raises(FileFailed, match="cannot be read"):
        await uploaded(_account("https://x/1", "https://x/1"), LOGIN, picture.with_name("nothing"))


@pytest_asyncio.fixture
async def address(shelf: Shelf, picture: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a file on the shelf, which is reached without TLS."""
    plain = sealed_address

    def unprotected(text: str) -> Any:
        found = plain(text)
        return SimpleNamespace(url=found.url.replace("https://", "http://"), lock=found.lock)

    monkeypatch.setattr("client.files.sealed_address", unprotected)
    get = shelf.url.replace("http://", "https://") + "/f/cat.jpg"
    return await uploaded(_account(f"{shelf.url}/f/cat.jpg", get), LOGIN, picture)


async def test_a_file_is_fetched_beside_others_of_its_name(address: str, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    for name in ("cat.jpg", "cat-1.jpg"):
        path = await fetched(LOGIN, address, folder)
        assert (path.name, path.read_bytes(), path.stat().st_mode & 0o777) == (name, OCTETS, 0o600)
    assert len(list(folder.iterdir())) == 2


async def test_what_is_not_authentic_leaves_nothing_behind(address: str, shelf: Shelf, tmp_path: Path) -> None:
    shelf.kept["/f/cat.jpg"] = shelf.kept["/f/cat.jpg"][:-1] + b"x"
    with pytest.raises(FileFailed, match="not authentic"):
        await fetched(LOGIN, address, tmp_path / "new")
    shelf.kept.clear()
    with pytest.raises(FileFailed, match="404"):
        await fetched(LOGIN, address, tmp_path / "new")
    with pytest.raises(FileFailed, match="not the address"):
        await fetched(LOGIN, "https://x/y", tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


async def test_the_terminal_shows_a_file_by_its_name_and_saves_it_when_asked(tmp_path: Path) -> None:
    said: list[tuple[bool, str]] = []
    commands = FileCommands(lambda good, text: said.append((good, text)))
    address = "aesgcm://x/u/%F0%9F%98%80%20cat.jpg#" + "ab" * 44
    asked: list[tuple[str, Path]] = []

    class Fake:
        async def fetch_file(self, address: str, folder: Path) -> Path:
            asked.append((address, folder))
            return folder / "cat.jpg"

        async def send_file(self, path: Path) -> str:
            raise FileFailed("the server has no place for files")

    chat = cast(Chat, Fake())
    assert commands.typed(chat, "/save")
    await asyncio.sleep(0)
    assert commands.shown("hello") == "hello"
    assert commands.shown(address) == "[file 😀 cat.jpg; /save fetches it]"
    assert commands.typed(chat, f"/save {tmp_path}")
    assert commands.typed(chat, "/file /x/y")
    assert not commands.typed(chat, "/other")
    await asyncio.sleep(0.01)
    assert asked == [(address, tmp_path)]
    assert said == [
        (False, "The contact has sent no file yet."),
        (True, f"Saved as {tmp_path / 'cat.jpg'}."),
        (False, "Not sent: the server has no place for files"),
    ]
