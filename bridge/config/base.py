"""What all models of the configuration share: their strictness, their own errors, and paths."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo
from pydantic_core import PydanticCustomError

from bridge.config.paths import file_path


class Closed(BaseModel):
    """Base: unknown keys are errors, nothing is converted, nothing can be changed afterwards."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


def mistake(code: str, found: str, remedy: str) -> PydanticCustomError:
    """An error whose two sentences `bridge.config.mistakes` shows as they are. Braces would be placeholders."""
    context = {"found": found, "remedy": remedy}
    return PydanticCustomError(code, "{found}", context)


def folder_of(info: ValidationInfo) -> Path:
    """The folder of the configuration file."""
    folder = (info.context or {}).get("folder")
    return folder if isinstance(folder, Path) else Path()


def _path(value: object, info: ValidationInfo) -> object:
    """A path, taken relative to the folder of the configuration file."""
    path = file_path(value, folder_of(info)) if isinstance(value, str) and value else None
    if path is None:
        raise mistake("not-a-path", "{shown} is not the path of a file", "Write the path as text.")
    return path


ConfigPath = Annotated[Path, BeforeValidator(_path)]
