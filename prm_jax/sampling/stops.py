r"""Stop sequences: texts that end a completion, such as the beginning of a line that leaves the function.

A stop sequence may begin within a token and span several, so it is looked for in the bytes that the ids stand for.
`engine.py` asks `StopWatch` which rows to end; whoever reads their texts cuts them with `before_stop`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from jaxtyping import Int
from numpy import ndarray

LEAVES_FUNCTION = ("\ndef ", "\nclass ", "\nprint", "\nif __name__", "\n#", "\nassert", "\n@", "\n```")
"""Lines that leave the function that a prompt has begun: what a model that was not tuned writes behind it."""


def before_stop(text: str, stops: Sequence[str]) -> str:
    """The text up to the first of the stop sequences; all of it where it has none."""
    found = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(found)] if found else text


class StopWatch:
    """Follows the texts of rows as their tokens come in.

    Of each row it keeps as many bytes as a stop sequence may still need, so that a token is read once.
    """

    def __init__(self, stops: Sequence[str], token_bytes: Callable[[int], bytes], rows: int) -> None:
        """Watches so many rows, numbered from 0; `token_bytes` as in `text.tokenizer.Tokenizer`."""
        self._stops = [stop.encode() for stop in stops]
        self._token_bytes = token_bytes
        self._reach = max(len(stop) for stop in self._stops) - 1
        self._tails = [b""] * rows

    def tokens_to_stop(self, row: int, tokens: Int[ndarray, " T"]) -> int | None:
        """Takes a row's next tokens.

        Returns:
          How many of them it takes to complete the first stop sequence; None where they complete none.
        """
        pieces = [self._token_bytes(token) for token in tokens.tolist()]
        tail = self._tails[row]
        seen = tail + b"".join(pieces)
        found = [place + len(stop) for stop in self._stops if (place := seen.find(stop)) >= 0]
        if not found:
            self._tails[row] = seen[max(0, len(seen) - self._reach) :]
            return None
        ends = itertools.accumulate(map(len, pieces), initial=len(tail))
        return next(count for count, end in enumerate(ends) if end >= min(found))
