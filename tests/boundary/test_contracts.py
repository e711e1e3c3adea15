"""Each import contract breaks when a violation is planted, and no module is outside all of them."""

import ast
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boundary.closed_contract import matches

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("adapters", "bridge", "client", "companion", "crypto")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


def linted(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    skip = shutil.ignore_patterns("__pycache__")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "tests" / "boundary").mkdir(parents=True)
    for name in ("tests/__init__.py", "tests/boundary/__init__.py", "tests/boundary/closed_contract.py"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def plant(copy: Path) -> Iterator["Plant"]:
    plant = Plant(copy)
    yield plant
    plant.weed()


class Plant:
    """Adds a line to a file of the copy, or a file, and takes it away again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before: dict[Path, str | None] = {}

    def line(self, file: str, line: str) -> None:
        path = self._folder / file
        self._before[path] = path.read_text() if path.exists() else None
        path.write_text((self._before[path] or '"""Planted."""\n') + line + "\n")

    def weed(self) -> None:
        for path, text in self._before.items():
            if text is None:
                path.unlink()
            else:
                path.write_text(text)

    def broken(self) -> set[str]:
        """Names of the contracts that are broken now."""
        done = linted(self._folder)
        lines = done.stdout.splitlines()
        names = {line.removesuffix(" BROKEN") for line in lines if line.endswith(" BROKEN")}
        assert bool(names) == (done.returncode != 0), done.stdout + done.stderr
        return names


NAMES = {contract["id"]: contract["name"] for contract in SETTINGS["contracts"]}


def test_the_sources_keep_every_contract() -> None:
    done = linted(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_untouched_copy_keeps_every_contract(plant: Plant) -> None:
    assert plant.broken() == set()


VIOLATIONS = [
    ("outside", "bridge/gateway.py", "import crypto.message"),
    ("outside", "bridge/worker.py", "from adapters.xmpp import inside_stanzas"),
    ("outside", "bridge/newcomer.py", "from crypto.enclave import seal"),
    ("outside", "adapters/matrix/outside.py", "import vodozemac"),
    ("outside", "adapters/loopback/outside.py", "from adapters.inside_api import Step"),
    ("inside", "crypto/message.py", "from bridge.errors import Failure"),
    ("inside", "crypto/enclave/chamber.py", "import bridge.ledger"),
    ("inside", "crypto/enclave/newcomer.py", "import logging"),
    ("inside", "crypto/enclave/loop.py", "import sqlite3"),
    ("inside", "adapters/matrix/inside.py", "import nio"),
    ("inside", "adapters/matrix/inside.py", "import aiohttp"),
    ("inside", "adapters/loopback/inside.py", "import slixmpp"),
    ("inside", "adapters/loopback/inside.py", "import structlog"),
    ("inside", "adapters/matrix/inside_newcomer.py", "from adapters.matrix import outside"),
    ("wall", "bridge/wire/values.py", "import bridge.errors"),
    ("wall", "bridge/wire/newcomer.py", "from adapters import registry"),
    ("cores", "crypto/esession/newcomer.py", "import time"),
    ("cores", "crypto/olm/newcomer.py", "import os"),
    ("cores", "crypto/primitives/newcomer.py", "from secrets import token_bytes"),
    ("cores", "crypto/esession/newcomer.py", "def f() -> None:\n    import socket"),
    ("cores", "crypto/esession/newcomer.py", "from crypto.enclave import register"),
    ("halves", "adapters/matrix/inside.py", "import random"),
    ("neutral", "adapters/matrix/names.py", "from crypto.message import Message"),
    ("neutral", "adapters/registry.py", "import adapters.loopback.inside"),
    ("adapters", "adapters/matrix/inside.py", "import adapters.loopback.names"),
    ("adapters", "adapters/loopback/outside.py", "import adapters.matrix.names"),
    ("client", "client/newcomer.py", "import bridge.config.load"),
    ("client", "client/newcomer.py", "import crypto.enclave.seal"),
    ("companion", "companion/newcomer.py", "import crypto.esession.session"),
    ("companion", "companion/newcomer.py", "import adapters.xmpp.inside"),
    ("companion", "companion/newcomer.py", "import gmpy2"),
    ("companion", "companion/driver.py", "from adapters.companion import inside"),
    ("inside", "adapters/companion/inside.py", "from companion import hook"),
    ("halves", "adapters/companion/inside.py", "import random"),
    ("neutral", "adapters/companion/names.py", "from crypto.message import Message"),
]


@pytest.mark.parametrize(("contract", "file", "line"), VIOLATIONS)
def test_a_planted_violation_breaks_its_contract(plant: Plant, contract: str, file: str, line: str) -> None:
    plant.line(file, line)
    assert NAMES[contract] in plant.broken()


def test_every_contract_has_a_planted_violation() -> None:
    assert {contract for contract, _, _ in VIOLATIONS} == NAMES.keys()


def modules() -> list[str]:
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def test_every_module_is_under_a_closed_contract() -> None:
    patterns = [
        pattern for contract in SETTINGS["contracts"] if contract["type"] == "closed" for pattern in contract["modules"]
    ]
    packages = {f"adapters.{folder.name}" for folder in (ROOT / "adapters").iterdir() if folder.is_dir()}
    assert [name for name in modules() if not matches(name, patterns) and name not in packages] == []


def test_the_adapters_contract_names_every_adapter() -> None:
    folders = {f"adapters.{f.name}" for f in (ROOT / "adapters").iterdir() if (f / "__init__.py").exists()}
    (contract,) = [contract for contract in SETTINGS["contracts"] if contract["id"] == "adapters"]
    assert set(contract["modules"]) == folders


def test_package_files_hold_a_docstring_only() -> None:
    packages = [path for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")]
    assert packages
    for path in packages:
        tree = ast.parse(path.read_text())
        assert len(tree.body) == 1, f"{path} holds more than a docstring"
        assert ast.get_docstring(tree), f"{path} has no docstring"
