"""Commands to the gateway by form, inside a session: ad-hoc commands (XEP-0050) in data forms (XEP-0004).

Outside a session they are refused by the outside half: whoever is on the way could give them.
"""

from adapters.xmpp.inside_leg import LegStep
from crypto.commands import Answer, Form, Order, Question
from crypto.message import Standing
from crypto.xml import Element, escape_attribute, escape_text

NS_COMMANDS = "http://jabber.org/protocol/commands"
NS_FORM = "jabber:x:data"
NS_INFO = "http://jabber.org/protocol/disco#info"
NS_ITEMS = "http://jabber.org/protocol/disco#items"
ACTIONS = frozenset({"execute", "next", "prev", "complete", "cancel"})
MOST_FIELDS, LONGEST = 16, 1024


def executed(at: LegStep, command: Element, standing: Standing) -> str | None:
    """The `<command/>` of the result; None: it is none of ours, or malformed."""
    order = order_of(command, standing)
    answer = at.step.command(at.contact.id, order) if order is not None else None
    return _command(command.attribute("node") or "", answer) if answer is not None else None


def order_of(command: Element, standing: Standing) -> Order | None:
    """What a client asks for. It is hostile: None when there is too much of it, or it makes no sense."""
    node, session = command.attribute("node") or "", command.attribute("sessionid") or ""
    action = command.attribute("action") or "execute"
    if action not in ACTIONS or not 0 < len(node) <= LONGEST or len(session) > LONGEST:
        return None
    form = command.child(NS_FORM, "x")
    if form is not None and form.attribute("type") == "cancel":
        action = "cancel"
    fields = [e for e in form.elements if (e.namespace, e.name) == (NS_FORM, "field")] if form is not None else []
    if len(fields) > MOST_FIELDS:
        return None
    answers: dict[str, str] = {}
    for field in fields:
        name, value = field.attribute("var") or "", field.child(NS_FORM, "value")
        if len(name) > LONGEST or (value is not None and len(value.text) > LONGEST):
            return None
        if name and value is not None:
            answers[name] = value.text
    return Order(node, action, standing, session, answers)


def listed(at: LegStep, query: Element) -> str | None:
    """The `<query/>` that lists the commands; None for another node, or where there are none."""
    commands = at.step.commands()
    if query.attribute("node") != NS_COMMANDS or not commands:
        return None
    jid = escape_attribute(at.contact_jid.v)
    rows = "".join(
        f'<item jid="{jid}" node="{escape_attribute(node)}" name="{escape_attribute(name)}"/>'
        for node, name in commands.items()
    )
    return f'<query xmlns="{NS_ITEMS}" node="{NS_COMMANDS}">{rows}</query>'


def described(at: LegStep, node: str) -> str | None:
    """The `<query/>` about a command, or about their list; None for another node."""
    commands = at.step.commands()
    if node == NS_COMMANDS and commands:
        identity = '<identity category="automation" type="command-list"/>'
        return f'<query xmlns="{NS_INFO}" node="{NS_COMMANDS}">{identity}</query>'
    if node not in commands:
        return None
    name = escape_attribute(commands[node])
    identity = f'<identity category="automation" type="command-node" name="{name}"/>'
    features = f'<feature var="{NS_COMMANDS}"/><feature var="{NS_FORM}"/>'
    return f'<query xmlns="{NS_INFO}" node="{escape_attribute(node)}">{identity}{features}</query>'


def _command(node: str, answer: Answer) -> str:
    head = f'<command xmlns="{NS_COMMANDS}" node="{escape_attribute(node)}"'
    head += f' sessionid="{escape_attribute(answer.session)}" status="{answer.state}">'
    actions = '<actions execute="next"><next/></actions>' if answer.state == "executing" else ""
    form = _form(answer.form, "form" if answer.state == "executing" else "result") if answer.form is not None else ""
    kind = "error" if answer.failed else "info"
    note = f'<note type="{kind}">{escape_text(answer.note)}</note>' if answer.note else ""
    return f"{head}{actions}{form}{note}</command>"


def _form(form: Form, kind: str) -> str:
    instructions = f"<instructions>{escape_text(form.words)}</instructions>" if form.words else ""
    fields = "".join(_field(question) for question in form.questions)
    return f'<x xmlns="{NS_FORM}" type="{kind}"><title>{escape_text(form.title)}</title>{instructions}{fields}</x>'


def _field(question: Question) -> str:
    # XEP-0004 has one value for each line of a text to be read.
    values = "".join(f"<value>{escape_text(line)}</value>" for line in question.value.splitlines())
    choices = "".join(
        f'<option label="{escape_attribute(label)}"><value>{escape_text(value)}</value></option>'
        for value, label in question.choices
    )
    required = "<required/>" if question.kind == "list-single" else ""
    label = f' label="{escape_attribute(question.label)}"' if question.label else ""
    name = escape_attribute(question.name)
    return f'<field var="{name}" type="{question.kind}"{label}>{required}{values}{choices}</field>'
