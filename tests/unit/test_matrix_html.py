"""Formatted bodies as marks, and back: what is kept, what is left out, what is refused."""

import time

import pytest

from adapters.matrix.inside_html import DEPTH, MAX_HTML, MOST_MARKS, safe_address, text_of
from adapters.matrix.inside_markup import formatted
from crypto.content import Mark, Style

S = Style


def read(html: str) -> tuple[str, list[tuple[str, Style, str]]]:
    """The text, and of each mark what it covers, its style, its value."""
    found = text_of(html)
    assert found is not None
    body, marks = found
    return body, [(body[mark.start : mark.end], mark.style, mark.value) for mark in marks]


@pytest.mark.parametrize(
    ("html", "body", "marks"),
    [
        ("<b>a</b> <strong>b</strong>", "a b", [("a", S.STRONG, ""), ("b", S.STRONG, "")]),
        ("<i>a</i><em>b</em>", "ab", [("a", S.EMPHASIS, ""), ("b", S.EMPHASIS, "")]),
        (
            "<u>a</u> <del>b</del> <s>c</s>",
            "a b c",
            [("a", S.UNDERLINE, ""), ("b", S.DELETED, ""), ("c", S.DELETED, "")],
        ),
        ("x <code>y  z</code>", "x y z", [("y z", S.CODE, "")]),
        ('<a href="https://x.example/?a=1&amp;b=2">t</a>', "t", [("t", S.LINK, "https://x.example/?a=1&b=2")]),
        ("<span data-mx-spoiler>x</span>", "x", [("x", S.SPOILER, "")]),
        ("<span data-mx-spoiler='it is &lt;3'>x</span>", "x", [("x", S.SPOILER, "it is <3")]),
        ("<p>a</p><p>b</p>", "a\n\nb", []),
        ("a<br>b<br><br/>c", "a\nb\n\nc", []),
        ("a\n   b\t c", "a b c", []),
        (
            "<blockquote>q<blockquote>d</blockquote></blockquote>t",
            "q\nd\nt",
            [("q\nd", S.QUOTE, ""), ("d", S.QUOTE, "")],
        ),
        ("<h2>T</h2>t", "T\nt", [("T", S.HEADING, "2")]),
        ("<ul><li>a</li><li>b</li></ul>", "a\nb", [("a", S.ITEM, ""), ("b", S.ITEM, "")]),
        ('<ol start="3"><li>a</li><li>b</li></ol>', "a\nb", [("a", S.ITEM, "3"), ("b", S.ITEM, "4")]),
        (
            '<pre><code class="language-py">\n a\n\n  b\n</code></pre>c',
            " a\n\n  b\nc",
            [(" a\n\n  b", S.CODE_BLOCK, "py")],
        ),
        ("<table><tr><th>a</th><td>b</td></tr><tr><td>c</td></tr></table>", "a | b\nc", []),
        ('a <img src="mxc://x/y" alt=":smile:"> b', "a :smile: b", []),
        ("a<hr>b", "a\n---\nb", []),
        ("1 &lt; 2 &amp;&amp; 3 &#62; 2 &nbsp;.", "1 < 2 && 3 > 2 \xa0.", []),
        ("<details><summary>s</summary>t</details>", "s\nt", []),
        ("H<sub>2</sub>O", "H2O", []),
    ],
)
def test_what_the_specification_permits_becomes_text_and_marks(
    html: str, body: str, marks: list[tuple[str, Style, str]]
) -> None:
    assert read(html) == (body, marks)


def test_the_fallback_of_a_reply_is_left_out() -> None:
    html = '<mx-reply><blockquote><a href="https://matrix.to/#/!r/$e">In reply to</a> x<br>y</blockquote></mx-reply>no'
    assert read(html) == ("no", [])
    assert text_of("<mx-reply>never ends") is None


@pytest.mark.parametrize(
    ("html", "body"),
    [
        ("<script>alert(1)</script>a", "a"),
        ("<style>p{}</style>a", "a"),
        ("<!-- hidden -->a<!-- x", "a<!-- x"),
        ("<!doctype html><?php ?>a", "a"),
        ("<iframe src='x'>a</iframe>", "a"),
        ("<b onclick='x()'>a</b>", "a"),
        ("a < b and c > d", "a < b and c > d"),
        ("</b></i>a</p>", "a"),
        ("<b", "<b"),
        ("a\x00\x01\u0085b&#x1;&#0;", "ab\ufffd"),
    ],
)
def test_what_is_unknown_or_broken_leaves_its_text_and_nothing_else(html: str, body: str) -> None:
    assert read(html)[0] == body


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "//x.example",
        "/relative",
        "ftp://x",
        "https:",
        "https://x\u202e.example",
        "https://" + "x" * 3000,
        "",
    ],
)
def test_addresses_of_other_kinds_are_no_links(address: str) -> None:
    assert safe_address(address) is None
    assert read(f'<a href="{address}">t</a>')[1] == []
    assert formatted("t", [Mark(0, 1, S.LINK, address)])[1] is None


@pytest.mark.parametrize("address", ["https://x", "HTTP://x", "mailto:a@b", "xmpp:a@b", "matrix:u/a:b", "geo:1,2"])
def test_addresses_of_known_kinds_are_links(address: str) -> None:
    assert read(f'<a href="{address}">t</a>')[1] == [("t", S.LINK, address)]


def test_nothing_is_read_of_more_than_the_limit_and_marks_and_depth_are_bounded() -> None:
    assert text_of("x" * (MAX_HTML + 1)) is None
    found = text_of("<b>x</b>" * (MOST_MARKS + 10))
    assert found is not None
    assert len(found[1]) == MOST_MARKS
    deep = text_of("<blockquote>x" * (DEPTH + 10))
    assert deep is not None
    assert len(deep[1]) == DEPTH


@pytest.mark.parametrize(
    "evil",
    [
        "<a " * 40_000,
        '<a "' * 30_000,
        "<!--" * 30_000,
        "<" * 120_000,
        "<b>" * 40_000,
        "</b>" * 30_000,
        "<b>" * 99 + "</i>" * 20_000,
        "<a " + "x " * 60_000 + ">",
        "&" * 120_000,
        "<pre>" + "\n" * 100_000 + "x",
    ],
)
def test_time_is_about_linear_in_the_input(evil: str) -> None:
    began = time.process_time()
    found = text_of(evil)
    if found is not None:
        formatted(*found)
    assert time.process_time() - began < 3


def test_text_without_marks_has_no_formatted_body() -> None:
    assert formatted("a <b> &", ()) == ("a <b> &", None)
    assert formatted("a", [Mark(0, 5, S.STRONG)]) == ("a", None)


def test_text_is_escaped_and_marks_that_overlap_are_nested() -> None:
    body = 'a <script> "b" & c'
    html = formatted(body, [Mark(0, 8, S.STRONG), Mark(4, 12, S.EMPHASIS)])[1]
    assert html == "<strong>a &lt;s<em>crip</em></strong><em>t&gt; &quot;</em>b&quot; &amp; c"


def test_whole_lines_are_blocks_in_html_and_have_signs_in_the_plain_body() -> None:
    body = "T\nq1\nq2\na\nb\nx = 1\ny\nend"
    marks = [
        Mark(0, 1, S.HEADING, "1"),
        Mark(2, 7, S.QUOTE),
        Mark(8, 9, S.ITEM, "1"),
        Mark(10, 11, S.ITEM, "2"),
        Mark(12, 19, S.CODE_BLOCK, "py"),
    ]
    plain, html = formatted(body, marks)
    assert html == (
        '<h1>T</h1><blockquote>q1<br>q2</blockquote><ol start="1"><li>a</li><li>b</li></ol>'
        '<pre><code class="language-py">x = 1\ny</code></pre>end'
    )
    assert plain == "T\n> q1\n> q2\n1. a\n2. b\nx = 1\ny\nend"


def test_links_show_their_address_and_spoilers_hide_in_the_plain_body() -> None:
    marks = [Mark(0, 4, S.LINK, "https://x.example/"), Mark(9, 15, S.SPOILER, "end")]
    plain, html = formatted("here and secret", marks)
    assert plain == "here (https://x.example/) and [Spoiler for end]"
    assert html == '<a href="https://x.example/">here</a> and <span data-mx-spoiler="end">secret</span>'


def test_values_cannot_leave_their_attribute() -> None:
    marks = [
        Mark(0, 1, S.SPOILER, '"><script>'),
        Mark(1, 2, S.LINK, 'https://x/"onclick="y'),
        Mark(3, 4, S.CODE_BLOCK, '"x'),
    ]
    html = formatted("ab\nc", marks)[1]
    assert html is not None
    assert "<script" not in html
    assert '"onclick' not in html
    assert "<pre><code>c</code></pre>" in html
