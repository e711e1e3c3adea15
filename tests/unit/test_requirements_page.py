"""docs/requirements.md names tests that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    line for line in (ROOT / "docs/requirements.md").read_text("utf-8").splitlines() if re.match(r"\| \d+ \|", line)
]
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


@cache
def functions_of(path: Path) -> frozenset[str]:
    """The names of the test functions of a file."""
    tree = ast.parse(path.read_text("utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def test_there_is_one_row_for_each_requirement() -> None:
    assert [int(row.split("|")[1]) for row in ROWS] == list(range(1, 19))


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip() for row in ROWS])
def test_a_row_says_everything_and_its_tests_exist(row: str) -> None:
    cells = [cell.strip() for cell in row.strip().strip("|").split("|")]
    assert len(cells) == 5
    assert all(cells)
    named = _TEST.findall(cells[3])
    assert len(named) >= 2
    assert len(named) == cells[3].count("::"), "every test is named in the form that is looked for"
    for file, function in named:
        path = ROOT / "tests" / file
        assert path.is_file(), file
        assert function in functions_of(path), f"{file}::{function}"


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_the_page_is_found_from(page: str) -> None:
    assert "requirements.md" in (ROOT / page).read_text("utf-8")
