"""`ModelConfig`: the shape of the one decoder that policy, reference, PRM, ORM and critic share.

gin binds it; every function of `models/` and `sampling/` takes it as a static argument.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from prm_jax.errors import UserError

_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A decoder of the Llama family. Hashable.

    Attributes:
      vocab_size: number of token ids.
      width: features of the residual stream.
      layers: number of blocks.
      heads: query heads.
      kv_heads: key and value heads; each serves `heads / kv_heads` query heads.
      mlp_width: hidden features of the gated feed-forward layer.
      head_width: features of a head; None for `width / heads`.
      rope_theta: base of the rotary frequencies.
      norm_eps: added to the mean square in RMSNorm.
      tied_embeddings: whether logits are made with the embedding table.
      scan_layers: whether blocks are one scanned block with stacked parameters (compiles faster) or unrolled.
      remat: whether a block's activations are computed again in the backward pass (less memory, more time).
      dtype: of activations, "float32" or "bfloat16". Parameters, norms, softmax and logits are float32.
    """

    vocab_size: int = 512
    width: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 4
    mlp_width: int = 384
    head_width: int | None = None
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    tied_embeddings: bool = True
    scan_layers: bool = True
    remat: bool = False
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name in ("vocab_size", "width", "layers", "heads", "kv_heads", "mlp_width"):
            if getattr(self, name) < 1:
                raise UserError(f"ModelConfig.{name} is {getattr(self, name)}; it must be at least 1.")
        if self.heads % self.kv_heads:
            raise UserError(
                f"ModelConfig has {self.heads} heads and {self.kv_heads} kv_heads; choose kv_heads that divide heads."
            )
        if self.head_width is None and self.width % self.heads:
            raise UserError(
                f"ModelConfig.width {self.width} is no multiple of {self.heads} heads; change one or set head_width."
            )
        if self.head_features % 2:
            raise UserError(f"ModelConfig: a head of {self.head_features} features has no rotary halves; make it even.")
        if self.dtype not in _DTYPES:
            raise UserError(f"ModelConfig.dtype is {self.dtype!r}; choose one of {sorted(_DTYPES)}.")

    @property
    def head_features(self) -> int:
        """Features of one head."""
        return self.width // self.heads if self.head_width is None else self.head_width

    @property
    def compute_dtype(self) -> jnp.dtype:
        """`dtype` as JAX knows it."""
        return jnp.dtype(_DTYPES[self.dtype])
