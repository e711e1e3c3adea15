"""Waiting times: growing pauses between attempts, and a limit on how often something may be done. No clock inside."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double: `first_s`, twice that, ..., never more than `most_s`."""

    first_s: float
    most_s: float
    attempts: int = 0

    @property
    def pause_s(self) -> float:
        """Seconds to wait before the next attempt."""
        return float(min(self.most_s, self.first_s * 2 ** min(self.attempts, 32)))

    def failed(self) -> "Backoff":
        """After one more failure."""
        return replace(self, attempts=self.attempts + 1)

    def reset(self) -> "Backoff":
        """After a success."""
        return replace(self, attempts=0)


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many at once, and then so many per second (a token bucket)."""

    burst: float
    per_s: float
    left: float
    at_s: float = 0.0

    @classmethod
    def full(cls, burst: float, per_s: float) -> "Allowance":
        """Nothing used yet."""
        return cls(burst, per_s, burst)

    def at(self, now_s: float) -> "Allowance":
        """With what has come back since it was last looked at. `now_s` must not run backwards."""
        left = min(self.burst, self.left + max(0.0, now_s - self.at_s) * self.per_s)
        return replace(self, left=left, at_s=now_s)

    @property
    def empty(self) -> bool:
        """Whether nothing may be done now."""
        return self.left < 1

    def used(self) -> "Allowance":
        """After doing it once."""
        return replace(self, left=self.left - 1)
