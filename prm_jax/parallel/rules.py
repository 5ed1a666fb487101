"""Which mesh axes each logical axis of a parameter or activation is split over.

The one table of the project; `shardings.py` reads it.
"""

from __future__ import annotations

# A mesh axis serves a tensor once, and axes are served in the tensor's order. So `embed` is split over `fsdp` in a
# parameter, and whole in an activation, where `batch` has taken `fsdp` before it.
LOGICAL_RULES: dict[str, tuple[str, ...]] = {
    "batch": ("data", "fsdp"),
    # Rows that all devices of a copy of the model share, for a step that splits features instead.
    "shared_batch": ("data",),
    "length": (),
    "embed": ("fsdp",),
    "vocab": ("tensor",),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "head_width": (),
    "mlp": ("tensor",),
    "layers": (),
    "rank": (),
}
