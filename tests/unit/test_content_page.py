"""docs/content.md names tests that exist."""

import re
from pathlib import Path

import pytest

from tests.unit.test_requirements_page import functions_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/content.md").read_text("utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and line.count(" | ") >= 5][1:]
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
FEATURES = (
    "text, notices, emotes",
    "formatted text",
    "new wordings",
    "answers",
    "reactions",
    "retractions",
    "delivery",
    "reading",
    "writing",
    "being there",
    "the contact's name and picture",
    "places",
    "files, pictures, sound, film, voice messages",
    "captions",
    "stickers",
    "polls",
    "calls, and kinds that nobody knows",
)


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().removeprefix("|").removesuffix("|").split("|")]


def test_every_feature_has_a_row() -> None:
    assert list(FEATURES) == [_cells(row)[0] for row in ROWS]


@pytest.mark.parametrize("row", ROWS, ids=[_cells(row)[0] for row in ROWS])
def test_a_row_names_tests_that_exist(row: str) -> None:
    cells = _cells(row)
    assert len(cells) == 8
    assert all(cells[:4])
    for cell in cells[5:]:
        assert cell, "a half without a test"
        assert "::" in cell or cell.startswith("as "), "a test, or what it is passed as"
    for file, function in _TEST.findall(row):
        path = ROOT / "tests" / file
        assert path.is_file(), file
        assert function in functions_of(path), f"{file}::{function}"
    assert len(_TEST.findall(row)) == row.count("::"), "every test is named in the form that is looked for"


def test_every_test_outside_the_table_exists_as_well() -> None:
    named = _TEST.findall(PAGE)
    assert len(named) >= len(ROWS)
    for file, function in named:
        assert function in functions_of(ROOT / "tests" / file), f"{file}::{function}"


def test_the_page_is_found_from_that_of_matrix() -> None:
    assert "content.md" in (ROOT / "docs/matrix.md").read_text("utf-8")
