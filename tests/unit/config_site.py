"""A folder with a right configuration and its secrets, to make mistakes in."""

import base64
from pathlib import Path

from bridge.config.load import Loaded, load
from bridge.errors import ConfigError, Problem

RIGHT = """\
xmpp:
  component: {jid: matrix.example.org, secret_file: secrets/component}
matrix:
  homeserver: https://matrix.example.org
accounts:
  alice:
    xmpp: alice@example.org
    matrix: {user: "@alice:example.org", password_file: secrets/alice-matrix}
    contacts:
      bob:
        address: "@bob:matrix.org"
        require: end-to-end
sealing: {key_file: secrets/sealing}
storage: {url: "sqlite:///var/lib/lockgate/ledger.db"}
"""
SECRETS = {
    "component": "component-secret-7f3a",
    "alice-matrix": "alice-password-7f3a",
    "sealing": base64.b64encode(bytes(range(32))).decode(),
}


class Site:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "config.yaml"
        self.secrets = folder / "secrets"
        self.secrets.mkdir(mode=0o700)
        for name, text in SECRETS.items():
            self.secret(name, text)
        self.file.write_text(RIGHT)

    def secret(self, name: str, text: str | bytes, mode: int = 0o600) -> Path:
        file = self.secrets / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        file.chmod(mode)
        return file

    def change(self, *changes: tuple[str, str]) -> None:
        """Replace parts of the right text; each must be in it."""
        text = RIGHT
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        self.file.write_text(text)

    def load(self) -> Loaded:
        return load(self.file)

    def problems(self) -> tuple[Problem, ...]:
        try:
            load(self.file)
        except ConfigError as error:
            return error.problems
        return ()

    def problem(self) -> Problem:
        """The only problem."""
        (only,) = self.problems()
        return only
