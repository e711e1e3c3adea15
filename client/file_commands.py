"""Files in the terminal: `/file PATH` sends one, `/save` fetches the contact's last one."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from client.files import FileFailed, is_file
from client.front import Chat
from crypto.files.addresses import name_in
from crypto.files.naming import file_name

FILE_COMMANDS = {
    "/file": "a path: send that file, encrypted",
    "/save": "fetch the contact's last file, into the folder that is named, or this one",
}


class FileCommands:
    """What the terminal does about files. `say(good, sentence)` shows a line."""

    def __init__(self, say: Callable[[bool, str], None]) -> None:
        self._say = say
        self._last: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def shown(self, body: str) -> str:
        """What is shown of a message: of a file its name, for its address is a secret and says nothing to people."""
        if not is_file(body):
            return body
        self._last = body
        address = body.strip().partition("\n")[0].partition("#")[0]
        return f"[file {file_name(name_in(address))}; /save fetches it]"

    def typed(self, chat: Chat, line: str) -> bool:
        """Carry out a command; False when it is none of these."""
        command, _, rest = line.strip().partition(" ")
        if command not in FILE_COMMANDS:
            return False
        work = self._send(chat, rest.strip()) if command == "/file" else self._save(chat, rest.strip())
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _send(self, chat: Chat, path: str) -> None:
        try:
            await chat.send_file(_expanded(path))
        except (FileFailed, ValueError) as error:
            self._say(False, f"Not sent: {error}")
        else:
            self._say(True, f"Uploaded {Path(path).name}.")

    async def _save(self, chat: Chat, folder: str) -> None:
        if self._last is None:
            self._say(False, "The contact has sent no file yet.")
            return
        try:
            saved = await chat.fetch_file(self._last, _expanded(folder or "."))
        except FileFailed as error:
            self._say(False, f"Not fetched: {error}")
        else:
            self._say(True, f"Saved as {saved}.")


def _expanded(path: str) -> Path:
    return Path(path).expanduser()
