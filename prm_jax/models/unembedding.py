"""From hidden states to the next token: logits, and what training reads of them.

The logits of a whole batch are by far the largest array of training: 0.8 GB for 8 rows of 512 tokens and a vocabulary
of 49,152. `next_token` holds no more than a piece of them, forwards and backwards, and leaves out pieces of which
nothing is wanted. `decoder.py` and `policy.py` call this. B batch, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from prm_jax.parallel.shardings import constrain, parts

PIECE_BYTES = 2**27
"""Of a piece of the logits on one device, at most, unless one token of each row has more."""


class NextToken(NamedTuple):
    """What the logits say of given tokens, float32; 0 where nothing is wanted.

    Attributes:
      logprobs: log-probability of the token, in nats.
      entropy: of the choice, in nats.
      likeliest: 1 where no token was likelier. It has no gradient.
    """

    logprobs: Float[Array, "B T"]
    entropy: Float[Array, "B T"]
    likeliest: Float[Array, "B T"]


def all_logits(hidden: Float[Array, "B T D"], table: Float[Array, "V D"]) -> Float[Array, "B T V"]:
    """Float32 logits; the product is computed in the dtype of the hidden states."""
    logits = jnp.einsum("btd,vd->btv", hidden, table.astype(hidden.dtype), preferred_element_type=jnp.float32)
    return constrain(logits, "batch", "length", "vocab")


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def next_token(
    hidden: Float[Array, "B T D"],
    table: Float[Array, "V D"],
    targets: Int[Array, "B T"],
    wanted: Bool[Array, "B T"],
    temperature: float = 1.0,
    remat: bool = False,
) -> NextToken:
    """What hidden states say of the tokens that follow them.

    Args:
      hidden: normalised hidden states.
      table: the unembedding.
      targets: the token behind each of them.
      wanted: where anything is asked for.
      temperature: divides the logits; it gets no gradient.
      remat: whether logits are computed again for the backward pass, piece by piece, in place of being kept.
    """
    return _forwards(hidden, table, targets, wanted, temperature, remat=True)[0]


def _forwards(
    hidden: Any, table: Any, targets: Any, wanted: Any, temperature: Any, remat: bool
) -> tuple[NextToken, Any]:
    pieces = _Pieces(wanted, table.shape[0])
    gathered = pieces.gathered(table, hidden.dtype)

    def said(_: None, number: Any) -> tuple[None, Any]:
        logits = all_logits(pieces.take(hidden, number), gathered) / temperature
        chosen = jnp.sum(jnp.where(_is_target(logits, pieces.take(targets, number)), logits, 0.0), axis=-1)
        largest = jnp.max(logits, axis=-1)
        weights = jnp.exp(logits - largest[..., None])
        total = jnp.sum(weights, axis=-1)
        normaliser = largest + jnp.log(total)
        entropy = normaliser - jnp.sum(weights * logits, axis=-1) / total
        told = (chosen - normaliser, entropy, (chosen >= largest).astype(jnp.float32), normaliser)
        return None, (told, None if remat else logits)

    _, (found, logits) = pieces.scan(said, None)
    *told, normaliser = (pieces.join(x) for x in found)
    answer = NextToken(*(jnp.where(wanted, x, 0.0) for x in told))
    # The normaliser stays where nothing is wanted: without it a great logit's exponential would be infinite.
    return answer, (hidden, table, targets, wanted, temperature, normaliser, answer.entropy, logits)


def _backwards(remat: bool, kept: Any, cotangents: NextToken) -> tuple[Any, Any, None, None, Any]:
    """With p the probabilities and H the entropy of logits z: d log p(y) / dz = [y] - p, dH / dz = -p (log p + H)."""
    hidden, table, targets, wanted, temperature, normaliser, entropy, kept_logits = kept
    pieces = _Pieces(wanted, table.shape[0])
    gathered = pieces.gathered(table, hidden.dtype)
    to_logprob, to_entropy = (jnp.where(wanted, x, 0.0) / temperature for x in cotangents[:2])

    def grouped(x: Any) -> Any:
        return x.reshape(groups, -1, *x.shape[1:])

    def learn(of_table: Any, number: Any) -> tuple[Any, Any]:
        """One piece: its share of the table's gradient is added, and the gradient of its states given."""
        states = pieces.take(hidden, number)
        by_token = (pieces.take(x, number)[..., None] for x in (normaliser, entropy, to_logprob, to_entropy))
        norm, spread, of_logprob, of_entropy = by_token
        logits = all_logits(states, gathered) / temperature if remat else kept_logits[number]
        logs = logits - norm
        slope = jnp.where(_is_target(logits, pieces.take(targets, number)), of_logprob, 0.0)
        slope = slope - jnp.exp(logs) * (of_logprob + of_entropy * (logs + spread))
        slope = constrain(slope.astype(hidden.dtype), "batch", "length", "vocab")
        of_states = jnp.einsum("btv,vd->btd", slope, gathered)
        # With the vocabulary last, as the slope has it: XLA would transpose that large array otherwise.
        more = jnp.einsum("gbtd,gbtv->gdv", grouped(states), grouped(slope), preferred_element_type=jnp.float32)
        return constrain(of_table + more, "batch", None, "vocab"), of_states

    # Of each group of rows that lies on one device: they are summed once, behind the last piece, and not for each.
    groups = parts(("batch",), wanted.shape[:1])
    nothing = constrain(jnp.zeros((groups, *table.shape[::-1]), jnp.float32), "batch", None, "vocab")
    of_groups, of_states = pieces.scan(learn, nothing)
    of_table = constrain(jnp.sum(of_groups, axis=0), "embed", "vocab").T.astype(table.dtype)
    return pieces.join(of_states), of_table, None, None, jnp.zeros_like(temperature)


next_token.defvjp(_forwards, _backwards)


class _Pieces:
    """Tokens of a batch in pieces of equal size, some columns each; in each row those that are wanted come first."""

    def __init__(self, wanted: Bool[Array, "B T"], vocabulary: int) -> None:
        batch, length = wanted.shape
        shape = (batch, length, vocabulary)
        column = 4 * batch * vocabulary // parts(("batch", "length", "vocab"), shape)
        self.count = -(-length // max(1, PIECE_BYTES // column))
        self.size = -(-length // self.count)
        self.length = length
        if self.count > 1:
            # Each row is put in order by itself, so that none leaves its device.
            self.order = jnp.argsort(~wanted, axis=1, stable=True)
            self.longest = jnp.max(jnp.sum(wanted, axis=1))

    def gathered(self, table: Float[Array, "V D"], dtype: Any) -> Float[Array, "V D"]:
        """The table as it is computed with: gathered once, and not for each piece."""
        table = table.astype(dtype)
        # Cast where it is split: it would be gathered in float32 else, twice as many bytes.
        return table if self.count == 1 else constrain(constrain(table, "vocab", "embed"), "vocab", None)

    def take(self, x: Float[Array, "B T *F"], number: Any) -> Float[Array, "B P *F"]:
        """A piece; zeros behind the end of the rows."""
        if self.count == 1:
            return x
        padded = jnp.pad(self.order, ((0, 0), (0, self.count * self.size - self.length)), constant_values=self.length)
        chosen = jax.lax.dynamic_slice_in_dim(padded, number * self.size, self.size, axis=1)
        return jnp.take_along_axis(x, _like(chosen, x), axis=1, mode="fill", fill_value=0)

    def join(self, pieces: Float[Array, "N B P *F"]) -> Float[Array, "B T *F"]:
        """All pieces as rows in their own order."""
        if self.count == 1:
            return pieces[0]
        rows = jnp.moveaxis(pieces, 0, 1).reshape(pieces.shape[1], -1, *pieces.shape[3:])[:, : self.length]
        return jnp.take_along_axis(rows, _like(jnp.argsort(self.order, axis=1), rows), axis=1)

    def scan(self, work: Callable[[Any, Any], tuple[Any, Any]], carry: Any) -> tuple[Any, Any]:
        """`jax.lax.scan` of `work` over the pieces; one of which nothing is wanted gives zeros."""
        if self.count == 1:
            carry, found = work(carry, 0)
            return carry, jax.tree.map(lambda x: x[None], found)
        empty = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(work, carry, 0)[1])

        def step(carry: Any, number: Any) -> tuple[Any, Any]:
            return jax.lax.cond(number * self.size < self.longest, work, lambda carry, _: (carry, empty), carry, number)

        return jax.lax.scan(step, carry, jnp.arange(self.count))


def _like(index: Int[Array, "B T"], x: Float[Array, "B T *F"]) -> Array:
    return index.reshape(*index.shape, *(1,) * (x.ndim - 2))


def _is_target(logits: Float[Array, "B T V"], targets: Int[Array, "B T"]) -> Bool[Array, "B T V"]:
    return jax.lax.broadcasted_iota(targets.dtype, logits.shape, 2) == targets[..., None]
