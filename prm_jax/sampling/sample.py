"""x."""

from __future__ import annotations

import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from prm_jax.batches import PromptBatch
from prm_jax.models.cache import KVCache, init_cache
from prm_jax.models.config import ModelConfig
from prm_jax.models.decoder import Decoder
from prm_jax.models.stacking import unroll
from prm_jax.sampling.rules import SamplingConfig


@flax.struct.dataclass
class Completions:
    tokens: Any
    logprobs: Any
    lengths: Any
    finished: Any


@functools.partial(jax.jit, static_argnames=("model", "config", "eos_id"))
def sample(params, prompts, seeds, *, model, config, eos_id):
    trunk, model = unroll(params["trunk"], model)
    decoder, variables = Decoder(model), {"params": trunk}
    batch, width = prompts.tokens.shape
    N = config.max_new_tokens
    pad = width - prompts.lengths
    idx = jnp.arange(width)[None] - pad[:, None]
    left = jnp.where(idx >= 0, jnp.take_along_axis(prompts.tokens, jnp.maximum(idx, 0), axis=1), 0)
    cache = init_cache(model, batch, width + N, pad)
    hidden, cache = decoder.apply(variables, left, jnp.maximum(idx, 0), cache, 0, method="decode")
    keys = jax.vmap(jax.random.key)(seeds)

    def choose(hidden, n):
        logits = decoder.apply(variables, hidden[:, -1:], method="logits")[:, 0]
        return config.choose(logits, keys, prompts.lengths + n)

    tok, lp = choose(hidden, 0)
    toks = jnp.zeros((batch, N), jnp.int32).at[:, 0].set(tok)
    lps = jnp.zeros((batch, N), jnp.float32).at[:, 0].set(lp)
    st = (jnp.int32(1), tok, tok == eos_id, jnp.ones((batch,), jnp.int32), toks, lps, cache)

    def cond(st):
        return (st[0] < N) & ~jnp.all(st[2])

    def body(st):
        n, tok, done, length, toks, lps, cache = st
        hidden, cache = decoder.apply(
            variables, tok[:, None], (prompts.lengths + n - 1)[:, None], cache, width + n - 1, method="decode"
        )
        tok, lp = choose(hidden, n)
        tok = jnp.where(done, 0, tok)
        lp = jnp.where(done, 0.0, lp)
        toks = jax.lax.dynamic_update_slice(toks, tok[:, None], (0, n))
        lps = jax.lax.dynamic_update_slice(lps, lp[:, None], (0, n))
        return n + 1, tok, done | (tok == eos_id), length + (~done), toks, lps, cache

    n, tok, done, length, toks, lps, cache = jax.lax.while_loop(cond, body, st)
    return Completions(toks, lps, length, done)
