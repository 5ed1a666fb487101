"""Attention over whole, possibly packed, rows: causal, within segments, by the kernel of `ModelConfig.attention`.

`attention.py` calls `attend_rows`, and `attend` to decode with a cache. All kernels give what the plain one gives. B
batch, T tokens, S key slots, H query heads, K key-value heads, G = H / K query heads to a key-value head, W features of
a head.
"""

from __future__ import annotations

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
        return _plain(queries, keys, values, segments)
    if config.attention == "pallas":
        return splash(queries, keys, values, segments)
    # JAX has tokens before heads.
    keys, values = (jnp.swapaxes(x, 1, 2) for x in (keys, values))
    mask = causal_mask(segments)[:, None]
    return jax.nn.dot_product_attention(queries, keys, values, mask=mask, implementation=config.attention)


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


def _plain(queries: Array, keys: Array, values: Array, segments: Int[Array, "B T"]) -> Float[Array, "B T H W"]:
    """Blocks of queries, each with the keys up to its end: those behind are masked, and nearly half of the work."""
    length = queries.shape[1]
    size = max(_BLOCK, -(-length // _MOST_BLOCKS))
    mixed = []
    for start in range(0, length, size):
        end = min(start + size, length)
        order = jnp.arange(start, end)[:, None] >= jnp.arange(end)
        mask = order & (segments[:, start:end, None] == segments[:, None, :end])
        mixed.append(attend(queries[:, start:end], keys[:, :, :end], values[:, :, :end], mask))
    return mixed[0] if len(mixed) == 1 else jnp.concatenate(mixed, axis=1)


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
    heads, kv_heads, length = queries.shape[2], keys.shape[1], queries.shape[1]
    by_heads = ("batch", "heads", "length", "head_width")
    queries = jnp.swapaxes(queries, 1, 2) * queries.shape[3] ** -0.5
    if parts(("heads",), (heads,)) != parts(("kv_heads",), (kv_heads,)):
        # Fewer key-value heads than devices: each query head gets its own, to be split as they are.
        keys, values = (jnp.repeat(x, heads // kv_heads, axis=1) for x in (keys, values))
    padding = -length % _LANES
    queries, keys, values = (jnp.pad(x, ((0, 0), (0, 0), (0, padding), (0, 0))) for x in (queries, keys, values))
    segments = jnp.pad(segments, ((0, 0), (0, padding)))

    def kernel(queries: Array, keys: Array, values: Array, segments: Array) -> Array:
        from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash_kernel
        from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

        causal = masks.MultiHeadMask([masks.CausalMask((length + padding,) * 2)] * queries.shape[1])
        run = splash_kernel.make_splash_mha(causal, head_shards=1, q_seq_shards=1, interpret=interpret)
        return jax.vmap(run)(queries, keys, values, splash_kernel.SegmentIds(segments, segments))

    kv_axes = by_heads if keys.shape[1] == heads else ("batch", "kv_heads", "length", "head_width")
    axes = (by_heads, kv_axes, kv_axes, ("batch", "length"))
    mixed = on_parts(kernel, axes, by_heads, queries, keys, values, segments)
    return jnp.swapaxes(mixed[:, :, :length], 1, 2)
