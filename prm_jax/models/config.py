"""`ModelConfig`: the shape of the one decoder that policy, reference, PRM, ORM and critic share.

gin binds it; every function of `models/` and `sampling/` takes it as a static argument.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax.numpy as jnp

from prm_jax.errors import UserError

_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
_ATTENTIONS = ("plain", "xla", "cudnn", "pallas")
_SCALINGS = ("linear", "llama3", "yarn")
PROJECTIONS = ("query", "key", "value", "out", "gate", "up", "down")
"""The kernels of a block that adapters may adapt."""


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies are stretched for rows longer than those of pretraining; `rope.py` has the formulas.

    Attributes:
      kind: "linear", "llama3" or "yarn".
      factor: how many times longer the rows may be.
      original_context: tokens of a row in pretraining; "linear" does not read it.
      low_freq_factor: "llama3": wavelengths above `original_context / low_freq_factor` are stretched wholly.
      high_freq_factor: "llama3": those below `original_context / high_freq_factor` stay.
      beta_fast: "yarn": frequencies that turn at least so often within `original_context` stay.
      beta_slow: "yarn": those that turn less often than this are stretched wholly.
      attention_factor: "yarn": scale of the rotated queries and keys; None for the paper's, 0.1 ln(factor) + 1.
    """

    kind: str
    factor: float
    original_context: int = 8192
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in _SCALINGS:
            raise UserError(f"RopeScaling.kind is {self.kind!r}; choose one of {', '.join(_SCALINGS)}.")
        _require(self, "factor", _is_number(self.factor) and self.factor >= 1, "a number of at least 1")
        _require(self, "original_context", _is_count(self.original_context), "a whole number of at least 1")
        for name in ("low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow"):
            _require(self, name, _is_positive(getattr(self, name)), "a number above 0")
        scale = self.attention_factor
        _require(self, "attention_factor", scale is None or _is_positive(scale), "a number above 0, or None")
        if self.low_freq_factor >= self.high_freq_factor:
            raise UserError(
                f"RopeScaling.low_freq_factor {self.low_freq_factor} must be below "
                f"high_freq_factor {self.high_freq_factor}."
            )


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """Which part of a network is trained: all of it, or low-rank adapters beside a frozen trunk; see `lora.py`.

    Attributes:
      rank: r, features between the two factors of an adapter; 0 for no adapters.
      alpha: what an adapter adds is scaled by alpha / r.
      projections: the kernels that are adapted, names of `PROJECTIONS`.
      sft: whether SFT trains adapters too. False: it trains all parameters, and what it gives is the frozen trunk of
        the reward models and of PPO.
    """

    rank: int = 0
    alpha: float = 32.0
    projections: tuple[str, ...] = PROJECTIONS
    sft: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "projections", tuple(self.projections))
        if self.rank < 0:
            raise UserError(f"LoraConfig.rank is {self.rank}; it must be at least 1, or 0 for no adapters.")
        unknown = [name for name in self.projections if name not in PROJECTIONS]
        if unknown or not self.projections:
            raise UserError(
                f"LoraConfig.projections names {', '.join(map(repr, unknown)) or 'nothing'}; choose among "
                f"{', '.join(PROJECTIONS)}."
            )

    @property
    def scale(self) -> float:
        """What alpha / r is."""
        return self.alpha / self.rank


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
      rope_scaling: how they are stretched; None for not at all.
      attention_bias: whether queries, keys and values have a bias (Qwen2).
      qk_norm: whether each head's queries and keys are normalised before they are rotated (Qwen3).
      norm_eps: added to the mean square in RMSNorm.
      tied_embeddings: whether logits are made with the embedding table.
      scan_layers: whether blocks are one scanned block with stacked parameters (compiles faster) or unrolled.
      scan_decoding: whether PPO's rollouts are decoded by a scan over scanned blocks too. It compiles in a fraction of
        the time and holds the parameters once; what it costs in time for each token has not been measured.
      remat: whether a block's activations, and the logits, are computed again in the backward pass (less memory, more
        time).
      reads_surprise: whether a scorer reads how surprised its trunk is by each token, see `heads.SurpriseHead`.
      context: tokens of the longest row that the model was made for; None where nothing says so.
      attention: the kernel for whole rows, `kernels.py`: "plain", "xla" (JAX's own), "cudnn" (GPUs, bfloat16) or
        "pallas" (TPUs). Decoding with a cache has one of its own.
      dtype: of activations, "float32" or "bfloat16". Parameters, norms, softmax and logits are float32.
      lora: the adapters that are trained in the place of the trunk; of rank 0 for none.
    """

    vocab_size: int = 512
    width: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 4
    mlp_width: int = 384
    head_width: int | None = None
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    attention_bias: bool = False
    qk_norm: bool = False
    norm_eps: float = 1e-5
    tied_embeddings: bool = True
    scan_layers: bool = True
    scan_decoding: bool = False
    remat: bool = False
    reads_surprise: bool = False
    context: int | None = None
    attention: str = "plain"
    dtype: str = "float32"
    lora: LoraConfig = LoraConfig()

    def __post_init__(self) -> None:
        for name in ("vocab_size", "width", "layers", "heads", "kv_heads", "mlp_width"):
            _require(self, name, _is_count(getattr(self, name)), "a whole number of at least 1")
        for name in ("head_width", "context"):
            value = getattr(self, name)
            _require(self, name, value is None or _is_count(value), "a whole number of at least 1, or None")
        # With a base of 1 all pairs of features turn alike.
        _require(self, "rope_theta", _is_number(self.rope_theta) and self.rope_theta > 1, "a number above 1")
        _require(self, "norm_eps", _is_number(self.norm_eps) and self.norm_eps >= 0, "a number of at least 0")
        _require(self, "tied_embeddings", isinstance(self.tied_embeddings, bool), "True or False")
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
        if self.scan_decoding and not self.scan_layers:
            raise UserError("ModelConfig.scan_decoding is True, but scan_layers False; set both, or neither.")
        if self.dtype not in _DTYPES:
            raise UserError(f"ModelConfig.dtype is {self.dtype!r}; choose one of {sorted(_DTYPES)}.")
        if self.attention not in _ATTENTIONS:
            raise UserError(f"ModelConfig.attention is {self.attention!r}; choose one of {', '.join(_ATTENTIONS)}.")
        if self.attention == "cudnn" and self.dtype != "bfloat16":
            raise UserError(f"ModelConfig.attention 'cudnn' cannot compute in {self.dtype}; set dtype to 'bfloat16'.")

    @property
    def head_features(self) -> int:
        """Features of one head."""
        return self.width // self.heads if self.head_width is None else self.head_width

    @property
    def compute_dtype(self) -> jnp.dtype:
        """`dtype` as JAX knows it."""
        return jnp.dtype(_DTYPES[self.dtype])

    def without_lora(self) -> ModelConfig:
        """The same network, whose trunk is trained."""
        return dataclasses.replace(self, lora=LoraConfig())


def _require(config: Any, name: str, holds: bool, wanted: str) -> None:
    """Refuses the value of a field, with what it must be, where its rule does not hold."""
    if not holds:
        raise UserError(f"{type(config).__name__}.{name} is {getattr(config, name)!r}; it must be {wanted}.")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0
