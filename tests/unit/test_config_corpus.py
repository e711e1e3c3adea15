"""What the fuzzers found, and the shapes they start from, replayed."""

from pathlib import Path

import pytest

from tests.fuzz import fuzz_component_stream, fuzz_config

CORPUS = Path(__file__).parent.parent / "corpus"


@pytest.mark.parametrize("file", sorted((CORPUS / "config").iterdir()), ids=lambda file: file.name)
def test_a_configuration_of_the_corpus_is_read_or_told_about(file: Path) -> None:
    fuzz_config.target(file.read_bytes())


@pytest.mark.parametrize("file", sorted((CORPUS / "component_stream").iterdir()), ids=lambda file: file.name)
def test_a_stream_of_the_corpus_is_read_or_refused(file: Path) -> None:
    fuzz_component_stream.target(file.read_bytes())
