"""What adapters hand to the ledger, made sure to fit the wall: it must be readable as an input afterwards."""

from dataclasses import replace

from pydantic import TypeAdapter, ValidationError

from adapters.outside_api import Outcome
from bridge.wire.values import MAX_BODY, AccountId, Name

_NAME: TypeAdapter[str] = TypeAdapter(Name)
_ACCOUNT: TypeAdapter[str] = TypeAdapter(AccountId)


class ArrivalRefused(ValueError):
    """An arrival does not fit the inbox. `code` says why: `too-large`, `bad-name`, `bad-account`."""

    def __init__(self, code: str) -> None:
        super().__init__("an arrival does not fit the inbox")
        self.code = code


def _is(adapter: TypeAdapter[str], text: str) -> bool:
    try:
        adapter.validate_python(text, strict=True)
    except ValidationError:
        return False
    return True


def checked(outcome: Outcome) -> Outcome:
    """The outcome in a form that the inbox takes: a code that is a word, a body within the limit."""
    if not _is(_NAME, outcome.code):
        outcome = replace(outcome, code="adapter-failed")
    if len(outcome.body) > MAX_BODY:
        outcome = replace(outcome, code="answer-too-large", body=b"")
    return outcome


def require_arrival(account: str, name: str, body: bytes) -> None:
    """Raises ArrivalRefused when the arrival could not be read back as an input."""
    if len(body) > MAX_BODY:
        raise ArrivalRefused("too-large")
    if not _is(_NAME, name):
        raise ArrivalRefused("bad-name")
    if not _is(_ACCOUNT, account):
        raise ArrivalRefused("bad-account")
