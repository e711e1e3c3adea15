"""Paths as people write them in the configuration."""

import os
from pathlib import Path


def is_encodable(text: str) -> bool:
    """Whether the text can be the path of a file at all."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def file_path(text: str, folder: Path) -> Path | None:
    """The absolute path that a text means: relative ones in `folder`, `~` the user's home. None when it is none."""
    if not is_encodable(text):
        return None
    try:
        expanded = Path(text).expanduser()
    except RuntimeError:  # there is no such user, or they have no home
        return None
    return (folder / expanded).absolute()
