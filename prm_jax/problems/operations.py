"""All operations of the synthetic domain, one table. `synthetic.py` chains them, `slips.py` confuses them."""

from __future__ import annotations

from prm_jax.problems.list_operations import LIST_OPERATIONS
from prm_jax.problems.operation import Operation
from prm_jax.problems.text_operations import TEXT_OPERATIONS
from prm_jax.problems.whole_list_operations import WHOLE_LIST_OPERATIONS

OPERATIONS: tuple[Operation, ...] = LIST_OPERATIONS + WHOLE_LIST_OPERATIONS + TEXT_OPERATIONS
