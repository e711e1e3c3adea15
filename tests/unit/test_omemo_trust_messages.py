"""Trust messages (XEP-0434), against what is printed in that specification and in XEP-0450."""

from base64 import b64decode, b64encode

import pytest

from crypto.omemo.curve import agreement_key, signing_key
from crypto.omemo.envelope import opened_envelope
from crypto.omemo.faults import Malformed
from crypto.omemo.trust_messages import (
    MAX_STATEMENTS,
    Statement,
    TrustMessage,
    forms,
    is_trust_message,
    read_trust_message,
)
from crypto.xml import Element, parse
from tests.unit.omemo_world import End

ALICE, BOB, CAROL = "alice@example.org", "bob@example.com", "carol@example.com"
EXAMPLE = """<envelope xmlns='urn:xmpp:sce:1'>
  <rpad>QHqW2arWFewoERL1a43wonBKpTmsrBWnc1d66HSDq85NgMLmjrDJV9lV</rpad>
  <time stamp='2020-01-01T00:00:00'/>
  <from jid='alice@example.org/notebook'/>
  <to jid='carol@example.com'/>
  <content>
    <trust-message xmlns='urn:xmpp:tm:1' usage='urn:xmpp:atm:1' encryption='urn:xmpp:omemo:2'>
      <key-owner jid='alice@example.org'>
        <trust>aFABnX7Q/rbTgjBySYzrT2FsYCVYb49mbca5yB734KQ=</trust>
        <trust>IhpPjiKLchgrAG5cpSfTvdzPjZ5v6vTOluHEUehkgCA=</trust>
      </key-owner>
      <key-owner jid='bob@example.com'>
        <trust>YjVI04NcbTPvXLaA95RO84HPcSvyOgEZ2r5cTyUs0C8=</trust>
        <distrust>tCP1CI3pqSTVGzFYFyPYUMfMZ9Ck/msmfD0wH/VtJBM=</distrust>
        <distrust>2fhJtrgoMJxfLI3084/YkYh9paqiSiLFDVL2m0qAgX4=</distrust>
      </key-owner>
    </trust-message>
  </content>
</envelope>"""
"""Section 5.2 of XEP-0434, as printed."""
NEW_YEAR_MS = 1_577_836_800_000
KEY = "aFABnX7Q/rbTgjBySYzrT2FsYCVYb49mbca5yB734KQ="
STAMP = "2020-01-01T00:00:00Z"
HEAD = "<trust-message xmlns='urn:xmpp:tm:1' usage='urn:xmpp:atm:1' encryption='urn:xmpp:omemo:2'>"
FOOT = "</trust-message>"


def content(*parts: str) -> tuple[Element, ...]:
    """What an envelope holds."""
    return parse(("<content xmlns='urn:xmpp:sce:1'>" + "".join(parts) + "</content>").encode()).elements


def about(*statements: str, owner: str = ALICE) -> str:
    """What is said of somebody's keys."""
    return f"<key-owner jid='{owner}'>{''.join(statements)}</key-owner>"


def said(text: str, stamp: str | None = STAMP) -> TrustMessage:
    """What it says of Alice's."""
    return read_trust_message(content(text), stamp, ALICE)


def test_the_specifications_example_is_read() -> None:
    opened = opened_envelope(EXAMPLE.encode(), sender=ALICE, recipient=CAROL)
    assert is_trust_message(opened.content)
    alices = read_trust_message(opened.content, opened.stamp, ALICE)
    assert alices.stamp_ms == NEW_YEAR_MS
    assert alices.statements == (
        Statement(b64decode("aFABnX7Q/rbTgjBySYzrT2FsYCVYb49mbca5yB734KQ="), True),
        Statement(b64decode("IhpPjiKLchgrAG5cpSfTvdzPjZ5v6vTOluHEUehkgCA="), True),
    )
    bobs = read_trust_message(opened.content, opened.stamp, BOB)
    assert [each.trusted for each in bobs.statements] == [True, False, False]
    assert bobs.statements[0].key.hex() == "623548d3835c6d33ef5cb680f7944ef381cf712bf23a0119dabe5c4f252cd02f"
    assert read_trust_message(opened.content, opened.stamp, CAROL).statements == ()


@pytest.mark.parametrize("jid", [f"{ALICE}/phone", "Alice@example.org", "", "example.org", f" {ALICE}"])
def test_an_owner_is_named_by_the_bare_jid_and_by_nothing_else(jid: str) -> None:
    assert said(HEAD + about(f"<trust>{KEY}</trust>", owner=jid) + FOOT).statements == ()


def test_one_owner_may_be_named_several_times() -> None:
    trusted, other = f"<trust>{KEY}</trust>", f"<distrust>{b64encode(b'x' * 32).decode()}</distrust>"
    found = said(HEAD + about(trusted, trusted) + about(other) + FOOT).statements
    assert found == (Statement(b64decode(KEY), True), Statement(b"x" * 32, False))


@pytest.mark.parametrize(
    ("name", "value"), [("usage", "urn:xmpp:atm:0"), ("encryption", "eu.siacs.conversations.axolotl")]
)
def test_what_is_for_another_protocol_says_nothing(name: str, value: str) -> None:
    right = {"usage": "urn:xmpp:atm:1", "encryption": "urn:xmpp:omemo:2"}
    text = (HEAD + about(f"<trust>{KEY}</trust>") + FOOT).replace(right[name], value)
    assert said(text).statements == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<body xmlns='jabber:client'>hi</body>",
        HEAD + FOOT,
        (HEAD + about(f"<trust>{KEY}</trust>") + FOOT) * 2,
        HEAD + about(f"<trust>{KEY}</trust>").replace(" jid=", " name=") + FOOT,
        (HEAD + about(f"<trust>{KEY}</trust>") + FOOT).replace("usage=", "use="),
        (HEAD + about(f"<trust>{KEY}</trust>") + FOOT).replace("encryption=", "form="),
        HEAD + about("<trust/>") + FOOT,
        HEAD + about(f"<trust>{KEY[:40]}</trust>") + FOOT,
        HEAD + about(f"<trust>!{KEY[1:]}</trust>") + FOOT,
        HEAD + about(f"<trust>{KEY}<distrust>{KEY}</distrust></trust>") + FOOT,
        HEAD + about(f"<trust>{b64encode(b'5' * 33).decode()}</trust>") + FOOT,
        HEAD + about("<trust>623548d3835c6d33ef5cb680f7944ef381cf712bf23a0119dabe5c4f252cd02f</trust>") + FOOT,
        HEAD + about(*[f"<trust>{KEY}</trust>"] * (MAX_STATEMENTS + 1)) + FOOT,
    ],
)
def test_what_is_not_of_the_right_form_is_refused_whole(text: str) -> None:
    with pytest.raises(Malformed):
        said(text)


@pytest.mark.parametrize("stamp", [None, "", "yesterday", "2020-13-01T00:00:00Z", "2020-01-01", "1577836800"])
def test_without_the_time_it_was_said_it_is_refused(stamp: str | None) -> None:
    with pytest.raises(Malformed):
        said(HEAD + about(f"<trust>{KEY}</trust>") + FOOT, stamp)


@pytest.mark.parametrize(
    ("stamp", "at_ms"),
    [
        ("2020-01-01T00:00:00Z", NEW_YEAR_MS),
        ("2020-01-01T01:00:00.25+01:00", NEW_YEAR_MS + 250),
        ("2020-01-01T00:00:00", NEW_YEAR_MS),
    ],
)
def test_times_are_read_with_their_zone_and_without_one_in_utc(stamp: str, at_ms: int) -> None:
    assert said(HEAD + about(f"<trust>{KEY}</trust>") + FOOT, stamp).stamp_ms == at_ms


@pytest.mark.parametrize("sign", [False, True])
def test_a_key_is_known_by_its_point_of_ed25519_and_by_that_of_curve25519(sign: bool) -> None:
    identity = End.make(ALICE, 11).identity
    signing = signing_key(identity, sign)
    assert agreement_key(signing) == identity
    assert identity in forms(signing)
    assert identity in forms(identity)
    assert End.make(ALICE, 22).identity not in forms(signing) | forms(identity)


def test_white_space_around_a_key_does_not_matter() -> None:
    assert said(HEAD + about(f"<trust>\n  {KEY}\n</trust>") + FOOT).statements == (Statement(b64decode(KEY), True),)
