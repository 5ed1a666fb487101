"""The unbiased estimator of pass@k.

`results.py` calls it with the counts of each problem. c of n samples passed; k programs may be handed in.
"""

from __future__ import annotations

import math


def pass_at_k(n: int, c: int, k: int) -> float:
    """The probability that k samples drawn without replacement from n hold one of the c that passed.

    1 - C(n - c, k) / C(n, k) (Chen et al. 2021, equation 1), which is what the expectation of "any of k passes"
    comes to without bias. The binomials are multiplied out as a product of factors below one, so that nothing
    overflows whatever n is.

    Args:
      n: samples whose verdict is known.
      c: samples that passed.
      k: samples that may be handed in.

    Returns:
      A probability; NaN where n < k, since fewer samples than k say nothing without bias.

    Raises:
      ValueError: unless 0 <= c <= n and k >= 1.
    """
    if not 0 <= c <= n or k < 1:
        raise ValueError(f"pass@k needs 0 <= c <= n and k >= 1; got n={n}, c={c}, k={k}")
    if n < k:
        return math.nan
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))
