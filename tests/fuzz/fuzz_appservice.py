"""Fuzz target: what is read of the transactions of an application service."""

import json
import sys

from adapters.matrix.names import EVENT, TO_DEVICE
from adapters.matrix.outside_appservice_news import entry_mark, transaction_news


def target(data: bytes) -> None:
    """Nothing is raised, and nothing is waited for that the transaction does not hold."""
    news = transaction_news(data)
    assert "" not in news.users
    entry_mark((EVENT, data))
    entry_mark((TO_DEVICE, data))
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    events = value.get("events") if isinstance(value, dict) else None
    ids = [event.get("event_id") for event in events if isinstance(event, dict)] if isinstance(events, list) else []
    for told in (each for room in news.rooms.values() for each in room):
        assert told.mark is None or told.mark in ids


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
