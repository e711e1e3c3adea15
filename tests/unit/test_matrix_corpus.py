"""What the fuzzers of the Matrix adapter start from, and what they found, replayed."""

from pathlib import Path

import pytest

from tests.fuzz import fuzz_matrix_inside, fuzz_matrix_olm, fuzz_matrix_sync

CORPUS = Path(__file__).parent.parent / "corpus"


def _files(name: str) -> list[Path]:
    return sorted((CORPUS / name).iterdir())


@pytest.mark.parametrize("file", _files("matrix_inside"), ids=lambda file: file.name)
def test_an_input_of_the_corpus_raises_nothing_and_delivers_nothing(file: Path) -> None:
    fuzz_matrix_inside.target(file.read_bytes())


@pytest.mark.parametrize("file", _files("matrix_olm"), ids=lambda file: file.name)
def test_octets_of_a_peer_in_the_corpus_are_read_or_refused(file: Path) -> None:
    fuzz_matrix_olm.target(file.read_bytes())


@pytest.mark.parametrize("file", _files("matrix_sync"), ids=lambda file: file.name)
def test_an_answer_of_a_server_in_the_corpus_is_read_or_refused(file: Path) -> None:
    fuzz_matrix_sync.target(file.read_bytes())
