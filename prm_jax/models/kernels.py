"""Attention over whole, possibly packed, rows: causal, within segments, by the kernel of `ModelConfig.attention`.

`attention.py` calls `attend_rows`, and `attend` to decode with a cache. All kernels give what the plain one gives. B
batch, T tokens, S key slots, H query heads, K key-value heads, G = H / K query heads to a key-value head, W features of
a head.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from prm_jax.errors import UserError
from prm_jax.models.config import ModelConfig
from prm_jax.parallel.shardings import on_parts, parts

_PLATFORMS = {"cudnn": "gpu", "pallas": "tpu"}  # The others run everywhere.
_BLOCK = 128
_MOST_BLOCKS = 8
_LANES = 128
"""Tokens that the TPU's kernel takes at a time."""


def causal_mask(segments: Int[Array, "B T"]) -> Bool[Array, "B T T"]:
    """True where a query (second axis) may read a key (third axis): not later, and in the same segment.

    Every token may read itself, padding too, so that no row of the softmax is empty.
    """
    length = segments.shape[1]
    causal = jnp.tril(jnp.ones((length, length), bool))
    return causal & (segments[:, :, None] == segments[:, None, :])


def attend(
    queries: Float[Array, "B T H W"],
    keys: Float[Array, "B K S W"],
    values: Float[Array, "B K S W"],
    mask: Bool[Array, "B T S"],
) -> Float[Array, "B T H W"]:
    """Scaled dot-product attention; scores and softmax in float32. A row of `mask` must hold one True at least."""
    batch, length, heads, features = queries.shape
    groups = heads // keys.shape[1]
    queries = queries.reshape(batch, length, -1, groups, features) * features**-0.5
    scores = jnp.einsum("btkgw,bksw->bkgts", queries, keys, preferred_element_type=jnp.float32)
    scores = jnp.where(mask[:, None, None], scores, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores, axis=-1).astype(values.dtype)
    # Asked for in this order, the product has the weights on its left: with the values there, as XLA would have them to
    # save the transposition of a small array, a CPU takes more than twice as long.
    mixed = jnp.einsum("bkgts,bksw->bkgtw", weights, values)
    return jnp.moveaxis(mixed, 3, 1).reshape(batch, length, heads, features)


def attend_rows(
    config: ModelConfig,
    queries: Float[Array, "B T H W"],
    keys: Float[Array, "B K T W"],
    values: Float[Array, "B K T W"],
    segments: Int[Array, "B T"],
) -> Float[Array, "B T H W"]:
    """Scaled dot-product attention among the tokens of each segment.

    Raises:
      UserError: `config.attention` does not run on the devices of the mesh, or of JAX where none is set.
    """
    check_platform(config)
    if config.attention == "plain":
        return plain(queries, keys, values, segments)
    if config.attention == "pallas":
        return splash(queries, keys, values, segments)
    if config.attention == "cudnn":
        return cudnn(queries, keys, values, segments)
    return _jaxs(queries, keys, values, segments, "xla")


def check_platform(config: ModelConfig) -> None:
    """Refuses a kernel that the devices do not have: a UserError."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    platform = jax.default_backend() if device is None else device.platform
    needed = _PLATFORMS.get(config.attention, platform)
    if platform not in (needed, {"gpu": "cuda"}.get(needed)):
        raise UserError(
            f"ModelConfig.attention is {config.attention!r}, which runs on {needed.upper()}s, and the devices here are "
            f"of platform {platform}; choose 'plain' or 'xla'"
        )


@jax.custom_vjp
def plain(
    queries: Float[Array, "B T H W"],
    keys: Float[Array, "B K T W"],
    values: Float[Array, "B K T W"],
    segments: Int[Array, "B T"],
) -> Float[Array, "B T H W"]:
    """Scores and softmax in float32, in blocks of queries.

    A block meets the keys up to its end: those behind it are masked, and were nearly half of the work. Backwards the
    weights alone are kept of all that is made of the scores. Wherever a product with weights has to transpose one side,
    the narrow one is on its left: that is the side which XLA transposes on CPUs.
    """
    return _plain_forwards(queries, keys, values, segments)[0]


def _plain_forwards(queries: Any, keys: Any, values: Any, segments: Any) -> tuple[Array, Any]:
    mixed, kept = [], []
    for block in _blocks(queries.shape[1]):
        end = block.stop
        scores = jnp.einsum(
            "bkgtw,bksw->bkgts", _grouped(queries[:, block], keys) * queries.shape[3] ** -0.5, keys[:, :, :end],
            preferred_element_type=jnp.float32,
        )  # fmt: skip
        order = jnp.arange(block.start, end)[:, None] >= jnp.arange(end)
        mask = order & (segments[:, block, None] == segments[:, None, :end])
        scores = jnp.where(mask[:, None, None], scores, jnp.finfo(jnp.float32).min)
        weights = jax.nn.softmax(scores, axis=-1).astype(values.dtype)
        mixed.append(_ungrouped(jnp.einsum("bkgts,bksw->bkgtw", weights, values[:, :, :end])))
        kept.append(weights)
    whole = jnp.concatenate(mixed, axis=1)
    return whole, (queries, keys, values, kept, whole)


def _plain_backwards(kept: Any, slope: Float[Array, "B T H W"]) -> tuple[Array, Array, Array, None]:
    """With P the weights and O the outcome, of scores: P (dP - sum(dO O)) (Dao et al. 2022, appendix B.2)."""
    queries, keys, values, all_weights, mixed = kept
    dtype, scale = queries.dtype, queries.shape[3] ** -0.5
    of_queries, of_keys, of_values = [], jnp.zeros_like(keys), jnp.zeros_like(values)
    for block, weights in zip(_blocks(queries.shape[1]), all_weights, strict=True):
        end = block.stop
        asked, given, got = (_grouped(x[:, block], keys) for x in (queries, slope, mixed))
        of_weights = jnp.einsum(
            "bkgtw,bksw->bkgts", given, values[:, :, :end], preferred_element_type=jnp.float32
        )  # fmt: skip
        common = jnp.sum((given * got).astype(jnp.float32), axis=-1, keepdims=True)
        of_scores = (weights * (of_weights - common)).astype(dtype)
        of_queries.append(_ungrouped(jnp.einsum("bkgts,bksw->bkgtw", of_scores, keys[:, :, :end]) * scale))
        of_keys = of_keys.at[:, :, :end].add(_by_key(asked * scale, of_scores))
        of_values = of_values.at[:, :, :end].add(_by_key(given, weights))
    return jnp.concatenate(of_queries, axis=1), of_keys, of_values, None


plain.defvjp(_plain_forwards, _plain_backwards)


def _blocks(length: int) -> list[slice]:
    size = max(_BLOCK, -(-length // _MOST_BLOCKS))
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def _grouped(x: Float[Array, "B T H W"], keys: Float[Array, "B K S W"]) -> Float[Array, "B K G T W"]:
    """The query heads of each key-value head."""
    batch, length, heads, features = x.shape
    return jnp.moveaxis(x.reshape(batch, length, keys.shape[1], heads // keys.shape[1], features), 1, 3)


def _ungrouped(x: Float[Array, "B K G T W"]) -> Float[Array, "B T H W"]:
    batch, kv_heads, groups, length, features = x.shape
    return jnp.moveaxis(x, 3, 1).reshape(batch, length, kv_heads * groups, features)


def _by_key(x: Float[Array, "B K G T W"], weights: Float[Array, "B K G T S"]) -> Float[Array, "B K S W"]:
    return jnp.swapaxes(jnp.einsum("bkgtw,bkgts->bkws", x, weights), 2, 3)


def _jaxs(
    queries: Float[Array, "B T H W"],
    keys: Float[Array, "B K T W"],
    values: Float[Array, "B K T W"],
    segments: Int[Array, "B T"],
    implementation: Literal["xla", "cudnn"],
) -> Float[Array, "B T H W"]:
    # JAX has tokens before heads.
    keys, values = (jnp.swapaxes(x, 1, 2) for x in (keys, values))
    mask = causal_mask(segments)[:, None]
    return jax.nn.dot_product_attention(queries, keys, values, mask=mask, implementation=implementation)


def _split_alike(queries: Array, keys: Array, values: Array) -> tuple[Array, Array, str]:
    """Keys and values whose heads the mesh splits as it does those of the queries, and the logical name of the heads.

    Args:
      queries: `[B, T, H, W]`.
      keys: `[B, K, T, W]`.
      values: `[B, K, T, W]`.
    """
    heads, kv_heads = queries.shape[2], keys.shape[1]
    if parts(("heads",), (heads,)) == parts(("kv_heads",), (kv_heads,)):
        return keys, values, "kv_heads"
    # Fewer key-value heads than devices: each query head gets its own, to be split as they are.
    return jnp.repeat(keys, heads // kv_heads, axis=1), jnp.repeat(values, heads // kv_heads, axis=1), "heads"


def cudnn(
    queries: Float[Array, "B T H W"],
    keys: Float[Array, "B K T W"],
    values: Float[Array, "B K T W"],
    segments: Int[Array, "B T"],
) -> Float[Array, "B T H W"]:
    """The kernel of cuDNN, through JAX, on the rows and heads of each device. Arguments as in `attend_rows`.

    Left to split it by itself, JAX refuses queries, keys and a mask that do not lie on the devices in the same way.
    """
    length = queries.shape[1]
    keys, values, kv_heads = _split_alike(queries, keys, values)
    # To cuDNN a mask is a bias, and its backward pass takes one of an even length only.
    padding = length % 2
    queries = jnp.pad(queries, ((0, 0), (0, padding), (0, 0), (0, 0)))
    keys, values = (jnp.pad(x, ((0, 0), (0, 0), (0, padding), (0, 0))) for x in (keys, values))
    segments = jnp.pad(segments, ((0, 0), (0, padding)))
    by_heads, kv_axes = ("batch", "length", "heads", "head_width"), ("batch", kv_heads, "length", "head_width")
    kernel = functools.partial(_jaxs, implementation="cudnn")
    axes = (by_heads, kv_axes, kv_axes, ("batch", "length"))
    return on_parts(kernel, axes, by_heads, queries, keys, values, segments)[:, :length]


def splash(
    queries: Float[Array, "B T H W"],
    keys: Float[Array, "B K T W"],
    values: Float[Array, "B K T W"],
    segments: Int[Array, "B T"],
    interpret: bool = False,
) -> Float[Array, "B T H W"]:
    """JAX's Pallas kernel for TPUs, on the rows and heads of each device.

    Args:
      queries: rotated queries.
      keys: rotated keys.
      values: values.
      segments: as in `attend_rows`.
      interpret: whether to interpret the kernel: the only way to run it without a TPU.
    """
    length = queries.shape[1]
    keys, values, kv_heads = _split_alike(queries, keys, values)
    queries = jnp.swapaxes(queries, 1, 2) * queries.shape[3] ** -0.5
    padding = -length % _LANES
    queries, keys, values = (jnp.pad(x, ((0, 0), (0, 0), (0, padding), (0, 0))) for x in (queries, keys, values))
    segments = jnp.pad(segments, ((0, 0), (0, padding)))

    def kernel(queries: Array, keys: Array, values: Array, segments: Array) -> Array:
        from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash_kernel
        from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

        causal = masks.MultiHeadMask([masks.CausalMask((length + padding,) * 2)] * queries.shape[1])
        run = splash_kernel.make_splash_mha(causal, head_shards=1, q_seq_shards=1, interpret=interpret)
        return jax.vmap(run)(queries, keys, values, splash_kernel.SegmentIds(segments, segments))

    by_heads, kv_axes = ("batch", "heads", "length", "head_width"), ("batch", kv_heads, "length", "head_width")
    axes = (by_heads, kv_axes, kv_axes, ("batch", "length"))
    mixed = on_parts(kernel, axes, by_heads, queries, keys, values, segments)
    return jnp.swapaxes(mixed[:, :, :length], 1, 2)
