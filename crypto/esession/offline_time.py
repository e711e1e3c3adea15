"""Times as XMPP writes them (XEP-0082), in milliseconds since 1970. No clock: times are arguments everywhere."""

import re

from crypto.esession.offline_refusals import OfflineFlaw, OfflineRefusal

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

_DATE_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})\Z"
)
_MONTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_BEFORE_1970 = 719_162
"""Days from the first of January of the year 1 to that of 1970."""


def read_time(text: str) -> int:
    """A DateTime in milliseconds; what is finer is cut off. Raises OfflineRefusal (MALFORMED)."""
    found = _DATE_TIME.match(text)
    if found is None:
        raise OfflineRefusal(OfflineFlaw.MALFORMED)
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    sound = year >= 1970 and 1 <= month <= 12 and hour < 24 and minute < 60 and second < 60
    if not sound or not 1 <= day <= _days_of(year, month):
        raise OfflineRefusal(OfflineFlaw.MALFORMED)
    seconds = ((_days_before(year, month) + day - 1) * 24 + hour) * 3600 + minute * 60 + second
    at_ms = (seconds - _offset_s(found[8])) * SECOND_MS + int((found[7] or "").ljust(3, "0")[:3])
    if at_ms < 0:
        raise OfflineRefusal(OfflineFlaw.MALFORMED)
    return at_ms


def write_time(at_ms: int) -> str:
    """The DateTime in UTC, in whole seconds (rounded down); of the years 1970 to 9999."""
    days, second = divmod(at_ms // SECOND_MS, 24 * 3600)
    year = 1970 + days // 366
    while _days_before(year + 1, 1) <= days:
        year += 1
    month = next(m for m in range(12, 0, -1) if _days_before(year, m) <= days)
    day = days - _days_before(year, month) + 1
    return f"{year:04}-{month:02}-{day:02}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _days_of(year: int, month: int) -> int:
    return _MONTHS[month - 1] + (month == 2 and _is_leap(year))


def _days_before(year: int, month: int) -> int:
    """Days from 1970 to the first of that month (Gregorian calendar)."""
    full = year - 1
    days = full * 365 + full // 4 - full // 100 + full // 400 - _BEFORE_1970
    return days + sum(_days_of(year, m) for m in range(1, month))


def _offset_s(zone: str) -> int:
    """What a zone is ahead of UTC, in seconds. Raises OfflineRefusal (MALFORMED)."""
    if zone == "Z":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 23 or minutes > 59:
        raise OfflineRefusal(OfflineFlaw.MALFORMED)
    ahead = hours * 3600 + minutes * 60
    return -ahead if zone[0] == "-" else ahead
