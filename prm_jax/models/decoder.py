"""`Decoder`: the trunk of policy, reference, PRM, ORM and critic.

`policy.py` calls it on whole rows, `sampling/` token by token. Its parameters are float32 and, outside of
initialisation, plain nested dicts. B batch, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from prm_jax.models.blocks import Block
from prm_jax.models.cache import KVCache, StackedCache, StackedLayer
from prm_jax.models.config import ModelConfig
from prm_jax.models.initializers import fan_in, partitioned
from prm_jax.models.lora import COLLECTION, kept_for_backward
from prm_jax.models.norm import RMSNorm
from prm_jax.models.rope import Rotary, rotary_table
from prm_jax.models.unembedding import all_logits
from prm_jax.parallel.shardings import constrain


class Decoder(nn.Module):
    """A causal decoder of the Llama family (Touvron et al. 2023).

    Attributes:
      config: its shape.
      unembedding: False leaves out the separate output table of a model with untied embeddings: a scorer has no
        logits, unless it reads its surprise.
    """

    config: ModelConfig
    unembedding: bool = True

    def setup(self) -> None:
        """The tables, the blocks and the last norm."""
        c = self.config
        table = partitioned(fan_in(c.width), "vocab", "embed")
        self.embedding = self.param("embedding", table, (c.vocab_size, c.width))
        if self.unembedding and not c.tied_embeddings:
            self.output = self.param("output", table, (c.vocab_size, c.width))
        block = Block
        if c.remat or c.lora.rank:
            block = nn.remat(Block, prevent_cse=not c.scan_layers, policy=None if c.remat else kept_for_backward(c))
        if c.scan_layers:
            self.blocks: Any = nn.scan(
                block,
                variable_axes={"params": 0, COLLECTION: 0},
                split_rngs={"params": True},
                in_axes=(nn.broadcast, nn.broadcast),
                length=c.layers,
                metadata_params={nn.PARTITION_NAME: "layers"},
            )(c)
        else:
            self.blocks = [block(c) for _ in range(c.layers)]
        self.norm = RMSNorm(c)

    def __call__(
        self, tokens: Int[Array, "B T"], segments: Int[Array, "B T"], positions: Int[Array, "B T"]
    ) -> Float[Array, "B T D"]:
        """The last hidden states of whole, possibly packed, rows.

        Args:
          tokens: token ids.
          segments: sequence that each token belongs to; a token reads only its own. 0 where padded.
          positions: position within the sequence.

        Returns:
          Normalised hidden states in the compute dtype; those of padding mean nothing, and are finite.
        """
        tokens, segments, positions = (constrain(rows, "batch", "length") for rows in (tokens, segments, positions))
        x = self._embed(tokens)
        rotary = rotary_table(positions, self.config)
        if self.config.scan_layers:
            x, _ = self.blocks(x, rotary, segments)
        else:
            for block in self.blocks:
                x, _ = block(x, rotary, segments)
        return self.norm(x)

    def logits(self, hidden: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Float32 logits of the next token."""
        return all_logits(hidden, self.embedding if self.config.tied_embeddings else self.output)

    def decode(
        self, tokens: Int[Array, "B T"], positions: Int[Array, "B T"], cache: KVCache, slot: int | Int[Array, ""]
    ) -> tuple[Float[Array, "B T D"], KVCache]:
        """The hidden states of the next T tokens of each row.

        With scanned layers the program is that of one layer, which compiles in a fraction of the time, and the cache
        is stacked too. `stacking.unroll` turns stacked parameters into unrolled ones.

        Args:
          tokens: token ids, written at the same slots in every row.
          positions: their positions within their rows; each row's tokens lie in successive slots.
          cache: keys and values of all earlier slots.
          slot: slot of the first of the tokens; a Python int lets attention skip the slots behind them.

        Returns:
          Hidden states and the cache with the tokens' keys and values written.
        """
        tokens, positions = (constrain(rows, "batch", "length") for rows in (tokens, positions))
        x = self._embed(tokens)
        rotary, mask = rotary_table(positions, self.config), cache.visible(slot, positions)
        if isinstance(cache.layers, StackedCache):
            x, stack = self._decode_scanned(x, rotary, mask, cache.layers, slot)
            return self.norm(x), KVCache(stack)
        layers = []
        for block, layer in zip(self.blocks, cache.layers, strict=True):
            x, layer = block.decode(x, rotary, mask, layer, slot)
            layers.append(layer)
        return self.norm(x), KVCache(tuple(layers))

    def _decode_scanned(
        self,
        x: Float[Array, "B T D"],
        rotary: Rotary,
        mask: Bool[Array, "B T S"],
        stack: StackedCache,
        slot: int | Int[Array, ""],
    ) -> tuple[Float[Array, "B T D"], StackedCache]:
        """Every layer of `x`. The cache is carried: what a scan takes in slices and gives in slices, it copies."""
        block = Block(self.config, parent=None)

        def layer(carry: tuple[Array, StackedCache], own: tuple[Any, Array]) -> tuple[tuple[Array, StackedCache], None]:
            (x, stack), (params, index) = carry, own
            cached = StackedLayer(stack, index)
            decoded: Any = block.apply({"params": params}, x, rotary, mask, cached, slot, method="decode")
            x, cached = decoded
            return (x, cached.stack), None

        layers = self.blocks.variables["params"], jnp.arange(self.config.layers)
        return jax.lax.scan(layer, (x, stack), layers)[0]

    def _embed(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        x = jnp.take(self.embedding, tokens, axis=0).astype(self.config.compute_dtype)
        # A table that is split by features gives parts of all rows. Told in one step, that rows are to be split
        # instead, the partitioner would make the whole of them on every device, forwards and backwards.
        x = constrain(x, "shared_batch", "length", "embed")
        return constrain(x, "batch", "length", "embed")
