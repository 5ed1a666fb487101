"""What a run starts from: a published checkpoint's shape, tokenizer and parameters, or random parameters.

Joins `models` and `text`. The stages `tasks` (tokenizer), `sft` (parameters) and, through the workbench, all later
ones (shape, and the trunk where adapters are trained) call it; `Experiment.pretrained.path` names a Hugging Face folder
or a GGUF file.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
from jax.sharding import Mesh

from prm_jax.errors import UserError
from prm_jax.models.checkpoint_load import Checkpoint, load_policy, open_checkpoint
from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import boxed_policy
from prm_jax.parallel.shardings import sharded_init
from prm_jax.stages.experiment import Experiment
from prm_jax.text.gguf_tokenizer import build
from prm_jax.text.pretrained import PretrainedTokenizer
from prm_jax.text.tokenizer import Tokenizer

COMPUTED_AS = ("scan_layers", "scan_decoding", "remat", "attention", "dtype", "reads_surprise", "lora")
"""The fields of `Experiment.model` that are read where a checkpoint decides the shape."""


@functools.lru_cache(maxsize=1)  # Every stage asks, and a GGUF file takes seconds to open.
def checkpoint_at(path: str) -> Checkpoint:
    """The opened checkpoint of a path; see `open_checkpoint`."""
    return open_checkpoint(path)


def tokenizer_at(path: str) -> PretrainedTokenizer:
    """The tokenizer that came with a checkpoint.

    Raises:
      UserError: it is missing, torn, no byte-level BPE, or of another vocabulary than the checkpoint's tensors.
    """
    checkpoint = checkpoint_at(path)
    size = checkpoint.config.vocab_size
    if checkpoint.metadata is not None:
        return build(checkpoint.metadata, size, path)
    return PretrainedTokenizer.from_folder(path, size)


def pretrained_config(experiment: Experiment, tokenizer: Tokenizer) -> ModelConfig:
    """The checkpoint's shape, with how the experiment wants it computed.

    Raises:
      UserError: the run's tokenizer is of another vocabulary, or its rows are longer than the model's context.
    """
    shape, own = checkpoint_at(experiment.pretrained.path).config, experiment.model
    if tokenizer.vocab_size != shape.vocab_size:
        raise UserError(
            f"the tokenizer of this run has {tokenizer.vocab_size} ids and {experiment.pretrained.path} "
            f"{shape.vocab_size}: use another --run_dir, or the checkpoint that the run was started with"
        )
    text = experiment.text
    new = max(experiment.sampling.max_new_tokens, experiment.ppo.max_new_tokens)
    if shape.context is not None and max(text.max_length, text.max_prompt + new) > shape.context:
        raise UserError(
            f"TextConfig.max_length {text.max_length} and max_prompt {text.max_prompt} with "
            f"max_new_tokens {new} (SamplingConfig or PpoConfig) must stay within the model's context of "
            f"{shape.context} tokens: lower them"
        )
    return computed_as(shape, own)


def computed_as(shape: ModelConfig, own: ModelConfig) -> ModelConfig:
    """A checkpoint's shape, with those fields of an experiment's model that say how it is computed and trained."""
    return dataclasses.replace(shape, **{name: getattr(own, name) for name in COMPUTED_AS})


def first_policy(experiment: Experiment, model: ModelConfig, mesh: Mesh) -> Any:
    """The policy before SFT, without adapters, on the mesh: the checkpoint's (`load_policy`), or a random one."""
    plain = model.without_lora()
    if experiment.pretrained.path:
        return load_policy(checkpoint_at(experiment.pretrained.path), plain, mesh)
    return sharded_init(functools.partial(boxed_policy, plain), jax.random.key(experiment.seed), mesh)
