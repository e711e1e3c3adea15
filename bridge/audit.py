"""What the gateway says to its log and counts: events of an enumeration, safe fields, never a body."""

import logging
import sys
from collections import Counter
from enum import StrEnum
from typing import Any, TextIO

import structlog


class Event(StrEnum):
    """Every event name that may stand in the gateway's log."""

    SERVING = "gateway.serving"
    REFUSING = "gateway.refusing"
    DRAINING = "gateway.draining"
    DRAINED = "gateway.drained"
    REMAPPED = "gateway.remapped"
    RELEASED = "gateway.released"
    SUPERVISOR_GONE = "gateway.supervisor-gone"
    LEDGER_OPENED = "ledger.opened"
    LEDGER_FULL = "ledger.full"
    LEDGER_USABLE = "ledger.usable-again"
    LEDGER_FAILED = "ledger.failed"
    LINK_OPENED = "enclave.link-opened"
    LINK_READY = "enclave.ready"
    LINK_LOST = "enclave.link-lost"
    STATE_REFUSED = "enclave.state-refused"
    INPUT_REFUSED = "enclave.input-refused"
    INPUT_SUSPECT = "enclave.input-suspect"
    STEP_REFUSED = "ledger.step-refused"
    HEALTH = "network.health"
    ARRIVAL_REFUSED = "network.arrival-refused"
    CARRY_RETRY = "network.carry-retry"
    CARRY_FAILED = "network.carry-failed"
    CARRY_RAISED = "network.carry-raised"
    ADAPTER_FAILED = "network.adapter-failed"
    UP = "lockgate is up"
    STARTED = "supervisor.started"
    ENDED = "supervisor.ended"
    LOCKDOWN = "supervisor.lockdown"
    LOCKDOWN_REFUSED = "supervisor.lockdown-refused"
    GATEWAY_REFUSED = "supervisor.gateway-refused"
    ENCLAVE_REFUSED = "supervisor.enclave-refused"
    CHANNEL_VIOLATED = "supervisor.channel-violated"
    STUCK = "supervisor.process-stuck"
    STOPPING = "supervisor.stopping"
    STOPPED = "supervisor.stopped"
    RELOADED = "supervisor.reloaded"
    RELOAD_REFUSED = "supervisor.reload-refused"
    RESTART_NEEDED = "supervisor.restart-needed"
    LIBRARY = "library"
    """Something a library logged: only its logger's name and level are kept, for its texts may quote stanzas."""


FIELDS = frozenset(
    {
        "account",
        "attempts",
        "carries",
        "code",
        "component",
        "count",
        "detail",
        "remedy",
        "where",
        "error",
        "inbox",
        "left",
        "logger",
        "name",
        "network",
        "outbox",
        "path",
        "pause_s",
        "pid",
        "process",
        "position",
        "reason",
        "request",
        "retry_s",
        "state",
        "status",
        "step",
        "version",
    }
)
"""Names of fields that may accompany an event: each holds a word, a number, or an address."""

MAX_FIELD = 256


def _only_known(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Refuse events that are not of the enumeration and fields that are not in the list."""
    kept: structlog.typing.EventDict = {}
    for key, value in event.items():
        if key == "event":
            kept["event"] = value.value if isinstance(value, Event) else Event.LIBRARY.value
        elif key in ("level", "timestamp"):
            kept[key] = value
        elif key in FIELDS and isinstance(value, str | int | float | None):
            kept[key] = value[:MAX_FIELD] if isinstance(value, str) else value
    return kept


class _Muffled(logging.Handler):
    """Keeps the fact that a library logged a warning, not its words."""

    def emit(self, record: logging.LogRecord) -> None:
        log("library").warning(Event.LIBRARY, logger=record.name, state=record.levelname.lower())


def set_up(level: str, style: str, stream: TextIO | None = None) -> None:
    """Log to the stream (standard error) as `json` lines or for a `console`, from `level` up."""
    target = stream or sys.stderr
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=target.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _only_known,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Muffled(logging.WARNING)]
    root.setLevel(logging.WARNING)


def log(component: str) -> structlog.typing.FilteringBoundLogger:
    """A logger of a part of the gateway."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=component)
    return logger


class Counters:
    """Counts of this process, by code. The enclave's are in the ledger."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, code: str, count: int = 1) -> None:
        """Count."""
        self._counts[code] += count

    def all(self) -> dict[str, int]:
        """All counts so far."""
        return dict(self._counts)
