"""The dependency locks pin everything and name no place that packages come from."""

import json
import re

import pytest

from rig.services import ROOT

LOCKS = ["requirements.lock", "requirements-synapse.lock"]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_index(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"://|index-url|find-links|trusted-host|file:/", text)


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_a_lock_has_a_version_and_hashes(name: str) -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^ *#.*\n", "", (ROOT / name).read_text()).strip())
    assert len(entries) > 20
    assert all(re.match(r"[\w.\[\]-]+==\S+", entry) and "--hash=sha256:" in entry for entry in entries)


def test_every_dependency_of_the_project_is_in_its_lock() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    locked = (ROOT / "requirements.lock").read_text().lower()
    names = [re.split(r"[^\w.-]", dependency)[0].lower().replace(".", "-") for dependency in wanted]
    assert [name for name in names if f"\n{name}==" not in locked] == []


def test_the_node_lock_holds_integrity_and_no_addresses_of_packages() -> None:
    packages = json.loads((ROOT / "rig" / "bob" / "package-lock.json").read_text())["packages"]
    assert all("resolved" not in package for package in packages.values())
    assert all("integrity" in package for path, package in packages.items() if path)
