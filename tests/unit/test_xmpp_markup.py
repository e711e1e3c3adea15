"""Formatted text on the XMPP side: XEP-0393 and XEP-0394 to marks and back, and nothing styled by accident."""

import pytest

from adapters.xmpp.inside_markup import NS_MARKUP, UNSTYLED, read_text, written_text
from adapters.xmpp.inside_styling import MAX_QUOTES, is_styled, styled
from crypto.content import Mark, Style
from crypto.xml import parse_content

S = Style


def seen(body: str) -> list[tuple[str, str]]:
    """Each mark of a body: its style, and the text under it."""
    text, marks = styled(body)
    return [(m.style.value, text[m.start : m.end]) for m in marks]


def back(text: str, marks: tuple[Mark, ...]) -> tuple[str, tuple[Mark, ...]]:
    """What a reader makes of what the writer wrote."""
    body, elements = written_text(text, marks)
    return read_text(body, parse_content(elements.encode()))


# ---------------------------------------------------------------- XEP-0393
@pytest.mark.parametrize(
    ("body", "marks"),
    [
        ("plain span", []),
        ("*strong span*", [("strong", "strong span")]),
        ("plain _emphasis_ plain", [("emphasis", "emphasis")]),
        ("`pre` plain *strong*", [("code", "pre"), ("strong", "strong")]),
        ("*strong*plain*", [("strong", "strong")]),
        ("* plain *strong*", [("strong", "strong")]),
        ("Everyone ~dis~likes cake.", [("deleted", "dis")]),
        ("This is `*monospace*`", [("code", "*monospace*")]),
        ("This is *`monospace and bold`*", [("code", "monospace and bold"), ("strong", "monospace and bold")]),
        *(
            (body, [])
            for body in ("not strong*", "*not strong", "*not \n strong*", "*not *strong", "**", "***", "****")
        ),
    ],
)
def test_the_examples_of_xep_0393_are_read_as_it_says(body: str, marks: list[tuple[str, str]]) -> None:
    assert seen(body) == marks


def test_blocks_are_read_as_xep_0393_says() -> None:
    assert styled("```ignored\n(println)\n```\nmono ⤴") == ("(println)\nmono ⤴", (Mark(0, 9, S.CODE_BLOCK, "ignored"),))
    assert styled("> ```\n> (println)\nplain") == (
        "(println)\nplain",
        (Mark(0, 9, S.CODE_BLOCK), Mark(0, 9, S.QUOTE)),
    )
    assert styled(">> That\n> Said\nWho?") == ("That\nSaid\nWho?", (Mark(0, 9, S.QUOTE), Mark(0, 4, S.QUOTE)))


def test_quotations_deeper_than_anyone_quotes_stay_text() -> None:
    text, marks = styled(">" * 5000 + "deep")
    assert len(marks) == MAX_QUOTES
    assert text == ">" * (5000 - MAX_QUOTES) + "deep"
    assert written_text(text, marks)[0] == "> " * MAX_QUOTES + text


# ---------------------------------------------------------------- writing
def test_a_text_with_characters_that_would_style_it_is_sent_as_not_to_be_styled() -> None:
    for text in ("2 *3* 4", "> _ <", "a\n> b", "`x`", "```\nx\n```"):
        assert is_styled(text)
        assert written_text(text, ()) == (text, UNSTYLED)
        assert back(text, ()) == (text, ())
    assert written_text("2 * 3 * 4", ()) == ("2 * 3 * 4", "")


@pytest.mark.parametrize(
    ("text", "marks", "body"),
    [
        ("bold and it", (Mark(0, 4, S.STRONG), Mark(9, 11, S.EMPHASIS)), "*bold* and _it_"),
        ("one\ntwo\nthree", (Mark(0, 7, S.QUOTE), Mark(4, 7, S.STRONG)), "> one\n> *two*\nthree"),
        ("a\n\nb\nrest", (Mark(0, 4, S.CODE_BLOCK, "py"),), "```py\na\n\nb\n```\nrest"),
        ("x y", (Mark(0, 3, S.CODE), Mark(0, 3, S.STRONG)), "*`x y`*"),
        ("see here ok", (Mark(4, 8, S.LINK, "https://x.example/"),), "see here (https://x.example/) ok"),
        ("https://x.example/", (Mark(0, 18, S.LINK, "https://x.example/"),), "https://x.example/"),
        ("Title\ntext", (Mark(0, 5, S.HEADING, "2"),), "*Title*\ntext"),
        ("a\nb", (Mark(0, 1, S.ITEM, "1"), Mark(2, 3, S.ITEM, "2")), "1. a\n2. b"),
        ("a\nb", (Mark(0, 1, S.ITEM), Mark(2, 3, S.ITEM)), "• a\n• b"),
        ("the butler did it", (Mark(4, 10, S.SPOILER, "who"),), "the [spoiler: who] butler did it"),
        ("two\nlines", (Mark(0, 9, S.STRONG),), "*two*\n*lines*"),
    ],
)
def test_marks_are_written_as_directives_that_say_just_that(text: str, marks: tuple[Mark, ...], body: str) -> None:
    assert written_text(text, marks) == (body, "")


def test_what_directives_cannot_say_is_said_beside_the_body() -> None:
    text, marks = "foobarbaz *x*", (Mark(3, 6, S.STRONG),)
    body, elements = written_text(text, marks)
    assert body == text
    assert NS_MARKUP in elements
    assert elements.endswith(UNSTYLED)
    assert back(text, marks) == (text, marks)


def test_a_mark_over_text_with_directives_of_its_own_does_not_swallow_them() -> None:
    text, marks = "x * y", (Mark(0, 5, S.STRONG),)
    assert back(text, marks) == (text, marks)
    text, marks = "a*b", (Mark(0, 3, S.STRONG),)
    assert written_text(text, marks)[0] == "a*b"
    assert back(text, marks) == (text, marks)


def test_a_whole_spoiler_is_one_for_clients_too() -> None:
    text, marks = "he dies", (Mark(0, 7, S.SPOILER, "the <end>"),)
    body, elements = written_text(text, marks)
    assert body == text
    assert back(text, marks) == (text, marks)
    assert "&lt;end&gt;" in elements


def test_values_of_marks_cannot_break_out_of_their_element() -> None:
    evil = '"/><body>x</body><a b="'
    text = "foo\nbar"
    for style in Style:
        body, elements = written_text(text, (Mark(0, 3, style, evil), Mark(1, 2, S.STRONG, evil)))
        assert all(e.name in ("markup", "unstyled", "spoiler") for e in parse_content(elements.encode()))
        assert "<body>" not in elements
        if style is Style.LINK:
            assert body == text


# ---------------------------------------------------------------- XEP-0394
def test_markup_beside_the_body_counts_in_code_points() -> None:
    markup = f"<markup xmlns='{NS_MARKUP}'><span start='2' end='4'><emphasis/><code/></span></markup>"
    text, marks = read_text("🦊 it *x*", parse_content(markup.encode()))
    assert text == "🦊 it *x*"
    assert {(m.start, m.end, m.style) for m in marks} == {(2, 4, S.EMPHASIS), (2, 4, S.CODE)}


def test_what_only_writes_a_quotation_or_a_list_is_not_part_of_the_text() -> None:
    body = "He said:\n> Thou\n> shalt\nand\n* a\n* b"
    markup = (
        f"<markup xmlns='{NS_MARKUP}'><bquote start='9' end='23'/>"
        "<list start='28' end='35'><li start='28'/><li start='32'/></list></markup>"
    )
    text, marks = read_text(body, parse_content(markup.encode()))
    assert text == "He said:\nThou\nshalt\nand\na\nb"
    assert [(m.style, text[m.start : m.end]) for m in marks] == [
        (S.QUOTE, "Thou\nshalt"),
        (S.ITEM, "a"),
        (S.ITEM, "b"),
    ]


@pytest.mark.parametrize(
    "inner",
    [
        "<span start='-1' end='4'><strong/></span>",
        "<span start='3' end='3'><strong/></span>",
        "<span start='90' end='99'><strong/></span>",
        "<span end='4'><strong/></span>",
        "<span start='٣' end='4'><strong/></span>",
        "<span start='0' end='4'><script/></span>",
        "<list start='0' end='4'/>",
        "<table start='0' end='4'/>",
    ],
)
def test_markup_that_makes_no_sense_marks_nothing(inner: str) -> None:
    markup = f"<markup xmlns='{NS_MARKUP}'>{inner}</markup>"
    assert read_text("hello", parse_content(markup.encode())) == ("hello", ())


def test_a_text_with_too_many_marks_is_passed_on_without() -> None:
    body = "*x* " * 600
    assert styled(body) == (body, ())
    spans = "".join(f"<span start='{n}' end='{n + 1}'><strong/></span>" for n in range(480))
    text, marks = read_text("x" * 700, parse_content(f"<markup xmlns='{NS_MARKUP}'>{spans}</markup>".encode()))
    assert (text, len(marks)) == ("x" * 700, 480)
    assert written_text(text, marks) == (text, "")
