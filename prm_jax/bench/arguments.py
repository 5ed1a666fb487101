"""What all benchmarks ask of their arguments."""

from __future__ import annotations

from prm_jax.errors import UserError


def require_positive(**numbers: int) -> None:
    """Refuses a number that is not positive, by the name of its option.

    Raises:
      UserError: one is not.
    """
    for name, number in numbers.items():
        if number < 1:
            raise UserError(f"--{name}={number}: expected a positive number")
