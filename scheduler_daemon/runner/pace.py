"""How long runs take here, and how many of them a worker may therefore be given at once. Pure."""

from __future__ import annotations

SPELL_S = 0.01
"""Work for less time than this is not divided: waking another worker would cost more than it gains."""
LINE_S = 0.25
SHORTEST_LINE = 128
LONGEST_LINE = 640
"""How many runs wait with one worker, at most: what it does in LINE_S, at the pace of the last runs."""
SHORTEST_S = 1e-6
WEIGHT = 1 / 256
"""Of one more run in what a run typically takes."""


class Pace:
    """Until runs have shown otherwise, they are taken to be long."""

    def __init__(self, processors: int) -> None:
        self._processors = processors
        self._typical_s = SPELL_S

    def took(self, seconds: float) -> None:
        """One more run has ended."""
        typical_s = self._typical_s + (max(0.0, seconds) - self._typical_s) * WEIGHT
        self._typical_s = max(SHORTEST_S, typical_s)

    @property
    def line(self) -> int:
        """How many runs one worker may have, the one that it runs among them."""
        return min(LONGEST_LINE, max(SHORTEST_LINE, int(LINE_S / self._typical_s)))

    def share(self, waiting: int, workers: int) -> int:
        """How many of those that wait each of so many workers gets: an equal part; but of many short runs at
        least a spell's worth, as long as every processor has its part.
        """
        if waiting <= workers:
            return 1
        equal = -(-waiting // workers)
        for_each_processor = -(-waiting // min(workers, self._processors))
        return max(equal, min(int(SPELL_S / self._typical_s), for_each_processor))
