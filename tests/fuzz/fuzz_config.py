"""Fuzz target: a configuration file of any octets is a configuration or a list of problems, nothing else."""

import sys
import tempfile
from pathlib import Path

from bridge.config.load import load_config
from bridge.errors import ConfigError, Problem

_TEMPORARY = tempfile.TemporaryDirectory(prefix="fuzz-config-")  # removed when the process ends
_FOLDER = Path(_TEMPORARY.name)


def target(data: bytes) -> None:
    """Only `ConfigError` may come of it, with at least one problem, each in words that fit a terminal."""
    file = _FOLDER / "config.yaml"
    file.write_bytes(data)
    problems: tuple[Problem, ...] | None = None
    try:
        load_config(file)
    except ConfigError as error:
        problems = error.problems
    assert problems is None or problems
    for problem in problems or ():
        assert problem.found
        assert problem.remedy
        assert f"{problem.where}{problem.found}{problem.remedy}".isprintable()


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
