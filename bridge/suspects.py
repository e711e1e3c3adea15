"""Which input kills the enclave: found by narrowing down, and set aside.

An enclave that dies takes nothing with it: all inputs it had not answered are given to the next one. An input
that kills every enclave would so stop all accounts. Whatever stood first in its account's line at a death is
suspected; after some deaths with the same suspect inputs are given one at a time, which makes the blame exact;
after some more deaths the input is parked, where the operator sees it. Being killed from outside at random
instants does not condemn an input: it would have to hit the same one, alone, again and again.
"""

from collections.abc import Iterable

DEATHS_TOGETHER = 3
DEATHS_ALONE = 3


class Suspects:
    """Deaths by the positions they are blamed on."""

    def __init__(self) -> None:
        self._together: dict[int, int] = {}
        self._alone: dict[int, int] = {}

    @property
    def careful(self) -> bool:
        """Whether inputs are to be given one at a time."""
        return any(deaths >= DEATHS_TOGETHER for deaths in self._together.values())

    def died(self, heads: Iterable[int], in_flight: int) -> int | None:
        """An enclave died with these first in their lines; returns the position to park, if one is found guilty."""
        first = list(heads)
        if not first:  # it died of something else
            return None
        self._together = {position: self._together.get(position, 0) + 1 for position in first}
        if in_flight == 1:
            (alone,) = first
            self._alone = {alone: self._alone.get(alone, 0) + 1}
            if self.careful and self._alone[alone] >= DEATHS_ALONE:
                self.cleared([alone])
                return alone
        return None

    def cleared(self, positions: Iterable[int]) -> None:
        """These inputs were consumed or parked."""
        if self._together:
            for position in positions:
                self._together.pop(position, None)
                self._alone.pop(position, None)
