"""Formatted text, whatever it is: read, written and read again it says the same; nothing is styled by accident."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.xmpp.inside_markup import read_text, written_text
from adapters.xmpp.inside_ranges import cut, lines_of, sane
from adapters.xmpp.inside_styling import STYLED, styled
from crypto.content import Mark, Style
from crypto.xml import parse_content

BODIES = st.text(alphabet="ab *_~`>\n🦊.x", max_size=60)
BLOCKS = (Style.QUOTE, Style.CODE_BLOCK, Style.ITEM, Style.HEADING)


@st.composite
def marked(draw: st.DrawFn, styles: tuple[Style, ...] = tuple(Style)) -> tuple[str, tuple[Mark, ...]]:
    """A text and marks over it, blocks over whole lines."""
    text = draw(BODIES)
    lines = lines_of(text)
    marks = []
    for _ in range(draw(st.integers(0, 5))):
        style = draw(st.sampled_from(styles))
        if style in BLOCKS:
            first = draw(st.integers(0, len(lines) - 1))
            last = draw(st.integers(first, len(lines) - 1))
            start, end = lines[first][0], lines[last][1]
        else:
            start, end = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        marks.append(Mark(start, end, style, draw(st.sampled_from(("", "1", "https://x.example/", '"<&>')))))
    return text, sane(text, marks)


def back(text: str, marks: tuple[Mark, ...]) -> tuple[str, tuple[Mark, ...]]:
    body, elements = written_text(text, marks)
    return read_text(body, parse_content(elements.encode()))


@settings(max_examples=300, deadline=None)
@given(BODIES)
def test_a_text_of_the_other_network_comes_back_as_it_is(text: str) -> None:
    assert back(text, ()) == (text, ())


@settings(max_examples=300, deadline=None)
@example(">\n>")
@example("> ```\n> \n")
@given(BODIES)
def test_a_styled_body_read_and_written_is_read_the_same_again(body: str) -> None:
    text, marks = styled(body)
    assert all(0 <= m.start < m.end <= len(text) for m in marks)
    again, found = back(text, marks)
    assert again == text
    assert covered(found) == covered(marks)


def covered(marks: tuple[Mark, ...]) -> set[tuple[int, Style]]:
    """Which characters have which style."""
    return {(at, m.style) for m in marks for at in range(m.start, m.end)}


@settings(max_examples=300, deadline=None)
@given(marked(tuple(sorted(STYLED))))
def test_marks_that_xmpp_knows_come_back_over_the_same_characters(given_: tuple[str, tuple[Mark, ...]]) -> None:
    text, marks = given_
    again, found = back(text, marks)
    assert again == text
    # Of white space at the ends of lines it makes no difference whether it is bold.
    visible = {at for at, c in enumerate(text) if not c.isspace()}
    assert {c for c in covered(found) if c[0] in visible} == {c for c in covered(marks) if c[0] in visible}


@settings(max_examples=300, deadline=None)
@given(marked())
def test_whatever_the_marks_the_elements_are_well_formed_and_few(given_: tuple[str, tuple[Mark, ...]]) -> None:
    text, marks = given_
    body, elements = written_text(text, marks)
    assert {e.name for e in parse_content(elements.encode())} <= {"markup", "unstyled", "spoiler"}
    assert set(text) - set(body) == set()


@settings(max_examples=300, deadline=None)
@given(marked(), st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70)), max_size=4))
def test_what_is_cut_out_of_a_text_takes_its_marks_along(
    given_: tuple[str, tuple[Mark, ...]], ranges: list[tuple[int, int]]
) -> None:
    text, marks = given_
    gone = {at for start, end in ranges for at in range(start, min(end, len(text)))}
    kept, found = cut(text, marks, ranges)
    places = [at for at in range(len(text)) if at not in gone]
    assert kept == "".join(text[at] for at in places)
    assert {(places[at], style) for at, style in covered(found)} == {c for c in covered(marks) if c[0] not in gone}
