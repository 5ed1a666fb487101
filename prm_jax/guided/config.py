"""`GuidedConfig`: how many programs a guided policy writes for each that it gives. gin binds it."""

from __future__ import annotations

import dataclasses

from prm_jax.errors import UserError

METHODS = ("prm", "orm", "majority", "beam")
AGGREGATES = ("min", "mean", "last")


@dataclasses.dataclass(frozen=True)
class GuidedConfig:
    """Guided decoding: `"prm"`, `"orm"` and `"majority"` choose among whole programs, `"beam"` line by line.

    Attributes:
      evaluated: methods with which the SFT policy gets a further row in the result table, as `sft_prm`.
      candidates: programs that are written for each one given; of a beam, lines at a time, at least.
      aggregate: what of a program's step scores a PRM's choice goes by: `"min"`, `"mean"` or `"last"`.
      beam_width: prefixes that a beam keeps at the end of each line, beside those that have no score yet.
      max_lines: a beam's programs are cut there.
      generated: calls made up for `"majority"`, beside those of the visible tests.
    """

    evaluated: tuple[str, ...] = ()
    candidates: int = 16
    aggregate: str = "min"
    beam_width: int = 4
    max_lines: int = 64
    generated: int = 8

    def __post_init__(self) -> None:
        object.__setattr__(self, "evaluated", tuple(self.evaluated))
        for method in self.evaluated:
            check_method(method)
        if self.aggregate not in AGGREGATES:
            raise UserError(f"GuidedConfig.aggregate is {self.aggregate!r}; choose one of {', '.join(AGGREGATES)}.")
        for name in ("candidates", "beam_width", "max_lines"):
            if getattr(self, name) < 1:
                raise UserError(f"GuidedConfig.{name} is {getattr(self, name)}; it must be at least 1.")
        if self.candidates < self.beam_width:
            raise UserError(
                f"GuidedConfig.candidates {self.candidates} is below beam_width {self.beam_width}; raise it."
            )
        if self.generated < 0:
            raise UserError(f"GuidedConfig.generated is {self.generated}; it must be 0 or more.")


def check_varied(method: str, greedy: bool) -> None:
    """Refuses to choose among programs that are all the same.

    Raises:
      UserError: they are written greedily.
    """
    if greedy:
        raise UserError(
            f"guided decoding by {method!r} chooses among programs, and written greedily all are the same: give a "
            "temperature above 0 and greedy=False, or leave it out"
        )


def check_method(method: str) -> None:
    """Refuses the name of no method.

    Raises:
      UserError: it is none of `METHODS`.
    """
    if method not in METHODS:
        raise UserError(f"guided decoding by {method!r}: choose one of {', '.join(METHODS)}")
