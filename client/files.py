"""Files of a conversation: uploaded to the account's own server (XEP-0363), named by `aesgcm:` addresses (XEP-0454).

The server sees the ciphertext, its size, and what the name of the file ends in. Files pass in pieces, and what was
fetched has its name only once it is known to be authentic.
"""

import asyncio
import contextlib
import os
import re
import secrets
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp
from slixmpp import ClientXMPP
from slixmpp.exceptions import XMPPError
from slixmpp.plugins.xep_0363 import FileUploadError
from yarl import URL

from client.account import Login, is_loopback
from crypto.errors import InsideError
from crypto.files.addresses import NotAnAddress, address_of, is_fetchable, name_in, sealed_address, sole_address
from crypto.files.naming import file_name
from crypto.files.streams import NONCE, TAG, Made, Method, Sealer, opener

CHUNK = 64 << 10
MOST_OCTETS = 1 << 30
STALL_S = 60.0
_ENDING = re.compile(r"\.[a-z0-9]{1,8}\Z")


class FileFailed(Exception):
    """A file was not sent, or not fetched. Says why, for people."""


def is_file(body: str) -> bool:
    """Whether a message is a file: an address alone."""
    return sole_address(body) is not None


async def uploaded(xmpp: ClientXMPP, login: Login, path: Path) -> str:
    """Encrypt a file and upload it; returns the address that opens it, which is a secret. Raises FileFailed."""
    size = _size(path)
    ending = _ENDING.search(path.name.lower())
    slot = await _slot(xmpp, f"file{ending[0] if ending else '.bin'}", size + TAG)
    put, get = slot["put"]["url"], slot["get"]["url"]
    if not (is_fetchable(put) and is_fetchable(get) and get.startswith("https://")):
        raise FileFailed("the server's place for files is not protected (https)")
    headers = {header["name"]: header["value"] for header in slot["put"]["headers"]}
    made: list[Made] = []
    sealer = Sealer(Method.GCM, secrets.token_bytes(32), secrets.token_bytes(NONCE[Method.GCM]))
    own = {"Content-Length": str(size + TAG), "Content-Type": "application/octet-stream"}
    trouble = "the server did not take the file"
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with (
            _session(login) as session,
            session.put(
                URL(put, encoded=True),
                data=_sealed(path, size, sealer, made),
                headers={**headers, **own},
                ssl=_context(login, put),
                allow_redirects=False,
            ) as response,
        ):
            if response.status in (200, 201, 204) and made:
                return address_of(get, made[0])
            trouble = f"the server did not take the file ({response.status})"
    raise FileFailed(trouble)


async def fetched(login: Login, address: str, folder: Path) -> Path:
    """Fetch a file, and put it into the folder under a name that is not taken yet. Raises FileFailed."""
    try:
        named = sealed_address(address.strip().partition("\n")[0])
    except NotAnAddress:
        raise FileFailed("this is not the address of a file") from None
    part = folder / f".{secrets.token_hex(8)}.part"
    trouble = "the file cannot be fetched"
    try:
        with _begun(part) as file:
            running, size = opener(named.lock), 0
            async for chunk in _got(login, named.url):
                size += len(chunk)
                if size > MOST_OCTETS:
                    raise FileFailed("the file is too large")
                file.write(running.opened(chunk))
            file.write(running.finished())
        return _placed(part, folder, file_name(name_in(named.url)))
    except InsideError:
        trouble = "the file is not authentic: it was changed, or is not whole"
    except (aiohttp.ClientError, TimeoutError, OSError):
        pass
    finally:
        part.unlink(missing_ok=True)
    raise FileFailed(trouble)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise FileFailed(f"{path.name} cannot be read: {error.strerror}") from None


def _begun(part: Path) -> BinaryIO:
    """A new file that only we can read."""
    part.parent.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _placed(part: Path, folder: Path, name: str) -> Path:
    stem, dot, ending = name.rpartition(".")
    for number in range(10_000):
        free = folder / (
            name if not number else f"{stem or ending}-{number}{dot if stem else ''}{ending if stem else ''}"
        )
        with contextlib.suppress(FileExistsError):
            os.link(part, free)
            return free
    raise FileFailed("there are too many files of that name")


async def _slot(xmpp: ClientXMPP, name: str, size: int) -> Any:
    xmpp.register_plugin("xep_0363")
    uploads: Any = xmpp.plugin["xep_0363"]
    trouble = "the server did not answer"
    try:
        found = await uploads.find_upload_service(timeout=10)
        if found is None:
            raise FileFailed("the server has no place for files")
        answer = await uploads.request_slot(found["from"], name, size, "application/octet-stream", timeout=20)
        return answer["http_upload_slot"]
    except FileUploadError:
        trouble = "the server takes no files of that size"
    except XMPPError as error:
        trouble = f"the server gave no place for the file ({error.condition})"
    raise FileFailed(trouble)


async def _sealed(path: Path, size: int, sealer: Sealer, made: list[Made]) -> AsyncIterator[bytes]:
    """The file's ciphertext. `made` holds its key at the end; a file that grew or shrank has none."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield sealer.sealed(chunk)
            await asyncio.sleep(0)
    tail, done = sealer.finished()
    if done.size == size:
        made.append(done)
    yield tail


async def _got(login: Login, url: str) -> AsyncIterator[bytes]:
    async with _session(login) as session, session.get(URL(url, encoded=True), ssl=_context(login, url)) as response:
        if response.status != 200:
            raise FileFailed(f"the file is not there any more ({response.status})")
        async for chunk in response.content.iter_chunked(CHUNK):
            yield chunk


def _session(login: Login) -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=STALL_S, sock_read=STALL_S)
    headers = {"Accept-Encoding": "identity"}
    return aiohttp.ClientSession(timeout=timeout, headers=headers, cookie_jar=aiohttp.DummyCookieJar())


def _context(login: Login, url: str) -> ssl.SSLContext:
    """Certificates are checked; see `Login` for the one exception."""
    context = ssl.create_default_context()
    if login.authority is not None:
        context.load_verify_locations(cafile=str(login.authority))
    if login.insecure_loopback and is_loopback(URL(url).host):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
