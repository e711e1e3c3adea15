"""Any text with any marks through HTML and back; any sequence of wordings, reactions and retractions, any schedule."""

from dataclasses import dataclass, field

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.matrix import names
from adapters.matrix.inside_html import text_of
from adapters.matrix.inside_markup import formatted
from crypto.content import Mark, Reaction, Style
from crypto.message import Message
from tests.fuzz.fuzz_matrix_html import check_written
from tests.unit.matrix_world import pair

WHOLE_LINES = (Style.QUOTE, Style.ITEM, Style.CODE_BLOCK, Style.HEADING)
VALUES = {Style.LINK: "https://x.example/?a=\"'&b", Style.HEADING: "2", Style.SPOILER: "why", Style.CODE_BLOCK: "py"}
LINES = st.lists(st.text("ab<>&\"'é\U0001f6a2", min_size=1, max_size=8), min_size=1, max_size=6)


@st.composite
def marked(draw: st.DrawFn) -> tuple[str, tuple[Mark, ...]]:
    """Lines without white space, and marks that may overlap."""
    body = "\n".join(draw(LINES))
    marks = []
    for style in draw(st.lists(st.sampled_from(list(Style)), max_size=8)):
        start = draw(st.integers(0, len(body) - 1))
        end = draw(st.integers(start + 1, len(body)))
        if style in WHOLE_LINES:
            start = body.rfind("\n", 0, start) + 1
            end = body.find("\n", max(start, end - 1))
            end = len(body) if end < 0 else end
        if start < end:
            marks.append(Mark(start, end, style, VALUES.get(style, "")))
    return body, tuple(marks)


def covered(body: str, marks: tuple[Mark, ...]) -> set[tuple[int, Style, str]]:
    """Which character has which style."""
    return {(at, mark.style, mark.value) for mark in marks for at in range(mark.start, mark.end) if body[at] != "\n"}


@settings(max_examples=300, deadline=None)
@given(marked())
@example(("a\nb", (Mark(0, 3, Style.QUOTE), Mark(2, 3, Style.ITEM))))
def test_text_and_styles_come_back_from_html(made: tuple[str, tuple[Mark, ...]]) -> None:
    body, marks = made
    _, html = formatted(body, marks)
    if html is None:
        assert not marks
        return
    check_written(html)
    again = text_of(html)
    assert again is not None
    assert again[0] == body
    shown, given_styles = covered(body, again[1]), covered(body, marks)
    within_code = {at for at, style, _ in given_styles if style is Style.CODE_BLOCK}
    for at, style, value in given_styles:
        inline = style not in WHOLE_LINES
        assert (at, style, value) in shown or (at in within_code and inline), (at, style)
    assert shown <= given_styles


@dataclass
class Model:
    """What the contact should see in the end: texts by the user's ids, what was taken back, reactions."""

    texts: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    feelings: dict[str, frozenset[str]] = field(default_factory=dict)
    made: int = 0


ACTS = st.tuples(
    st.sampled_from(["text", "text", "edit", "retract", "react", "hold", "release", "settle", "restart"]),
    st.integers(0, 7),
)


def _message(model: Model, act: str, number: int) -> Message | None:
    present = [name for name in model.texts if name not in model.gone]
    model.made += 1
    made = f"a{model.made}"
    if act == "text":
        model.texts[made] = made
        return Message(made, made)
    if not present:
        return None
    target = present[number % len(present)]
    if act == "edit":
        model.texts[target] = f"{target} {model.made}"
        return Message(made, model.texts[target], replaces=target)
    if act == "retract":
        model.gone.add(target)
        return Message(made, "", retracts=target)
    emojis = frozenset("👍❤🎉"[: number % 4])
    model.feelings[target] = emojis
    return Message(made, "", reaction=Reaction(target, tuple(sorted(emojis))))


def _seen(messages: list[Message]) -> tuple[dict[str, str], set[str], dict[str, frozenset[str]], dict[str, str]]:
    """Texts by event, what is gone, reactions, and the events by their first text, which is the user's id."""
    texts: dict[str, str] = {}
    firsts: dict[str, str] = {}
    gone: set[str] = set()
    feelings: dict[str, frozenset[str]] = {}
    for message in messages:
        if message.replaces is not None:
            assert message.replaces in texts, "a new wording of what has not come yet"
            texts[message.replaces] = message.body
        elif message.retracts is not None:
            assert message.retracts in texts
            gone.add(message.retracts)
        elif message.reaction is not None:
            assert message.reaction.to in texts
            feelings[message.reaction.to] = frozenset(message.reaction.emojis)
        else:
            texts[message.id] = message.body
            firsts[message.body] = message.id
    return texts, gone, feelings, firsts


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(ACTS, max_size=30))
def test_whatever_the_user_does_the_contact_sees_the_same_in_the_end(acts: list[tuple[str, int]]) -> None:
    world, alice, bob = pair()
    for machine in (alice, bob):
        machine.allows(reactions="yes")
    model, sent = Model(), 0
    for act, number in acts:
        if act == "hold":
            world.held = {(names.ROOM_SEND, names.ROOM_REACT, names.ROOM_REDACT, names.KEYS_CLAIM)[number % 4]}
        elif act == "release":
            world.held = set()
        elif act == "restart":
            alice.starts(resumed=number % 2 == 0)
        elif act != "settle" and (message := _message(model, act, number)) is not None:
            alice.hands_over(message)
            sent += 1
        if act in ("settle", "release"):
            world.settle()
    world.held = set()
    world.settle()
    texts, gone, feelings, firsts = _seen(bob.delivered())
    came = [name for name in model.texts if name not in model.gone or name in firsts]  # the others never went out
    assert list(firsts) == came
    assert {firsts[name]: model.texts[name] for name in came if name not in model.gone} == {
        event: text for event, text in texts.items() if event not in gone
    }
    assert gone == {firsts[name] for name in model.gone if name in firsts}
    for name, emojis in model.feelings.items():
        if name not in model.gone:
            assert feelings.get(firsts[name], frozenset()) == emojis
    assert len(alice.step.done) == sent
    assert not alice.step.failures
    assert not [name for name in alice.step.records.held if name.startswith(("queue/", "line/", "sent/"))]
