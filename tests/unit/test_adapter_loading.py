"""Halves are had by the names that are given for them, and by nothing else."""

import traceback
from pathlib import Path

import pytest

from adapters.registry import BUILTIN, ENTRY, Unloadable, half, trouble
from bridge.routes import outside_halves
from bridge.wire.gateway_control import NetworkSettings, Setting

SECRET = "hunter2"
PACKAGE = {
    "__init__.py": "",
    "outside.py": """
class Carrier:
    network = "carrier"

    def __init__(self, settings):
        self.settings = dict(settings)
        self.host = settings["host"]

class Strict:
    network = "carrier"

    def __init__(self, settings):
        raise ValueError(f"I do not like {settings}")

class Nameless:
    pass
""",
    "broken.py": "raise RuntimeError('not today')\n",
}


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of somebody else, of a name of its own in each test."""
    name = f"package{abs(hash(tmp_path))}"
    folder = tmp_path / name
    folder.mkdir()
    for file, text in PACKAGE.items():
        (folder / file).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def network(path: str, **settings: str) -> NetworkSettings:
    given = {**settings, ENTRY: path}
    return NetworkSettings(
        network="carrier", settings=tuple(Setting(name=name, value=value) for name, value in given.items())
    )


def test_an_outside_half_is_made_of_its_settings(package: str) -> None:
    (made,) = outside_halves([network(f"{package}.outside:Carrier", host="here")])
    assert made.network == "carrier"
    assert made.settings == {"host": "here"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("no_such_package.outside:Carrier", "there is no module no_such_package"),
        ("{}.outside:Courier", "the module {}.outside has no Courier"),
        ("{}.outside:Nameless", "the `network` of {}.outside:Nameless is another one"),
        ("{}.outside:Strict", "{}.outside:Strict raises ValueError"),
        ("{}.broken:Carrier", "{}.broken:Carrier raises RuntimeError"),
        ("adapters.loopback.outside:LoopbackOutside", "is another one"),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_reason_and_without_a_setting(
    package: str, path: str, reason: str
) -> None:
    with pytest.raises(Unloadable) as refused:
        outside_halves([network(path.format(package), host=SECRET)])
    assert reason.format(package) in str(refused.value)
    assert SECRET not in "".join(traceback.format_exception(refused.value))
    assert refused.value.__context__ is None


def test_a_network_without_an_adapter_is_refused() -> None:
    with pytest.raises(Unloadable, match="none is built in or named"):
        outside_halves([NetworkSettings(network="carrier", settings=())])


def test_a_built_in_network_is_served_by_its_own_adapter_whatever_its_settings_say(package: str) -> None:
    given = Setting(name=ENTRY, value=f"{package}.outside:Carrier")
    (made,) = outside_halves([NetworkSettings(network="loopback", settings=(given,))])
    assert type(made).__module__ == "adapters.loopback.outside"


@pytest.mark.parametrize("name", BUILTIN)
def test_every_built_in_half_says_its_networks_name(name: str) -> None:
    for path in (BUILTIN[name].outside, BUILTIN[name].inside):
        assert trouble(f"{name}={path}", lambda found: found) is None
        assert trouble(f"other={path}", lambda found: found) is not None
    assert half(name, BUILTIN[name].inside, lambda found: found()).network == name
