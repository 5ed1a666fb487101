"""`Complete`: what labelling asks of a policy. The stages make one of a checkpoint; here is no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prm_jax.problems.problem import Problem

Complete = Callable[[Sequence[tuple[Problem, str]], int, int], list[list[str]]]
"""From problems with the beginning of a program for each, a number K and a seed to K whole programs for each.

A beginning is empty or ends with a newline. A whole program begins with it; one that does not has gone on in the line
that was to be closed, and counts as no completion.
"""
