"""Making a sealing key, and other private files."""

import base64
import os
import secrets
from pathlib import Path

from bridge.config.secrets import SEALING_KEY_SIZE
from bridge.errors import OperatorError, Problem, WorldError


def make_key(file: Path) -> None:
    """Write 32 random octets in base64 to a new file of mode 0600. Never overwrites."""
    text = base64.b64encode(secrets.token_bytes(SEALING_KEY_SIZE)) + b"\n"
    remedy = "A key that is lost takes the stored state with it. Choose another name, or move the file away."
    private_file(file, text, remedy)


def private_file(file: Path, text: bytes, if_there: str) -> None:
    """Write a new file of mode 0600. Never overwrites; `if_there`: what to do then."""
    trouble: OperatorError | WorldError
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        _write(descriptor, text, file)
        _make_durable(file.absolute().parent)
    except FileExistsError:
        trouble = OperatorError(Problem("exists", str(file), "the file exists and is left as it is", if_there))
    except FileNotFoundError:
        remedy = f"Make it: mkdir -m 700 {file.parent}"
        trouble = OperatorError(Problem("no-folder", str(file.parent), "there is no such folder", remedy))
    except OSError as error:
        found = f"cannot be written ({os.strerror(error.errno or 0)})"
        trouble = WorldError(Problem("cannot-write", str(file), found, "Choose another place."))
    else:
        return
    raise trouble


def _write(descriptor: int, text: bytes, file: Path) -> None:
    """Write the new file, durably; half a key is taken away again."""
    try:
        with open(descriptor, "wb") as opened:
            os.fchmod(descriptor, 0o600)
            opened.write(text)
            opened.flush()
            os.fsync(descriptor)
    except OSError:
        file.unlink(missing_ok=True)
        raise


def _make_durable(folder: Path) -> None:
    """The file's name, too, must outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
