"""Step-level beam search: drafts grow line by line, and at the end of each line the best ones go on.

A draft that has no score yet, since only a comment or half of a long line of it is there, is neither good nor bad: it
goes on beside the best ones until it has one. Of equal scores an ended draft goes first, then that which came first.

Comes in: how a draft is extended by a line, and how drafts are scored; goes out: a policy, as evaluation and
`prm_jax generate` take it. `stages/guided.py` joins it with a policy and a PRM.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from prm_jax.evaluation.samples import Complete
from prm_jax.guided.config import GuidedConfig
from prm_jax.problems.problem import Problem


@dataclasses.dataclass(frozen=True)
class Draft:
    """The beginning of a program.

    Attributes:
      ids: the tokens that were sampled for it, behind which the policy goes on.
      text: what of them belongs to the program, which is what is scored.
      ended: whether the program is whole, or may not grow.
    """

    ids: tuple[int, ...] = ()
    text: str = ""
    ended: bool = False


Extend = Callable[[Sequence[Problem], Sequence[Draft], int], list[Draft]]
"""From problems, a draft for each and a seed to each draft with one line more."""

ScoreDrafts = Callable[[Sequence[Problem], Sequence[Draft]], list[float]]
"""From problems and a draft for each to their scores; more is better, NaN is none yet, which no ended draft has."""


def beam_search(
    extend: Extend, score: ScoreDrafts, config: GuidedConfig, progress: Callable[[int], None] | None = None
) -> Complete:
    """A policy that gives the programs in which such a search ends, the best first.

    At each line `config.candidates` lines are sampled behind the drafts that go on, as many behind each, and
    `config.beam_width` drafts are kept, or as many as programs are asked for if these are more, and all those that
    have no score yet. With these, fewer than twice as many lines are sampled.

    Args:
      extend: gives each draft one line more.
      score: what is preferred.
      config: how wide, how long.
      progress: called at the end of each line with `config.candidates` for each problem whose search has ended there:
        what best-of-N would have written for it.
    """

    def search(problems: Sequence[Problem], samples: int, seed: int) -> list[list[str]]:
        """The `Complete` that is given back."""
        width = max(config.beam_width, samples)
        beams = [[Draft()] for _ in problems]
        for line in range(config.max_lines):
            owners, drafts = _to_grow(beams, max(config.candidates, samples))
            if not drafts:
                break
            grown = extend([problems[owner] for owner in owners], drafts, seed + line)
            pools = [[draft for draft in beam if draft.ended] for beam in beams]
            for owner, draft in zip(owners, grown, strict=True):
                pools[owner].append(draft)
            beams = _best(problems, [list(dict.fromkeys(pool)) for pool in pools], score, width)
            if progress is not None:
                left = _growing(beams) if line + 1 < config.max_lines else 0
                progress((len(set(owners)) - left) * config.candidates)
        return [_as_many([draft.text for draft in beam], samples) for beam in beams]

    return search


def _growing(beams: Sequence[Sequence[Draft]]) -> int:
    """The number of problems whose search has not ended."""
    return sum(not all(draft.ended for draft in beam) for beam in beams)


def _to_grow(beams: Sequence[Sequence[Draft]], candidates: int) -> tuple[list[int], list[Draft]]:
    """The drafts that go on, each as often as lines are sampled behind it, with the problem that each is for."""
    owners, drafts = [], []
    for owner, beam in enumerate(beams):
        growing = [draft for draft in beam if not draft.ended]
        for draft in growing:
            copies = -(-candidates // len(growing))
            owners += [owner] * copies
            drafts += [draft] * copies
    return owners, drafts


def _best(
    problems: Sequence[Problem], pools: Sequence[Sequence[Draft]], score: ScoreDrafts, width: int
) -> list[list[Draft]]:
    """The best drafts of each problem, and behind them those that have no score yet."""
    pairs = [(problem, draft) for problem, pool in zip(problems, pools, strict=True) for draft in pool]
    scores = iter(score([problem for problem, _ in pairs], [draft for _, draft in pairs]))
    return [_kept([(next(scores), draft) for draft in pool], width) for pool in pools]


def _kept(pool: Sequence[tuple[float, Draft]], width: int) -> list[Draft]:
    """What `_best` keeps of one problem's drafts with their scores."""
    judged = sorted(
        ((score, draft) for score, draft in pool if not math.isnan(score)),
        key=lambda each: (-each[0], not each[1].ended),
    )
    return [draft for _, draft in judged[:width]] + [draft for score, draft in pool if math.isnan(score)]


def _as_many(texts: Sequence[str], samples: int) -> list[str]:
    """So many of the texts; where there are fewer, the best again."""
    return [texts[index] if index < len(texts) else texts[0] for index in range(samples)]
