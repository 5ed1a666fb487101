"""`config.json` of a Hugging Face folder in, a `ModelConfig` out, and back. Loading and saving call it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from prm_jax.errors import UserError
from prm_jax.models.config import ModelConfig, RopeScaling
from prm_jax.models.families import FAMILIES, Family, family_of

LABELS = ("wrong", "right")
"""The labels of a scorer exported as a token classifier."""

_CONTEXT = 2048  # What transformers takes for Llama where `config.json` says nothing.

# What the decoder does not compute: the value that each key must have, if it is there.
_REQUIRED: Mapping[str, Any] = {
    "hidden_act": "silu",
    "mlp_bias": False,
    "use_sliding_window": False,
    "attention_bias": False,  # With True transformers adds a bias to the output kernel as well.
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
}


def read_json(path: epath.Path) -> dict[str, Any]:
    """A JSON object of a checkpoint's folder.

    Raises:
      UserError: the file is missing, torn or no object.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"no {path.name} in {path.parent}: give the folder of a Hugging Face checkpoint") from None
    except ValueError as error:
        raise UserError(f"{path} is torn ({error}): download it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object: download it again")
    return content


def model_config(content: Mapping[str, Any], where: str) -> ModelConfig:
    """The shape that a `config.json` describes, with scanned layers and float32 compute.

    Args:
      content: of the file.
      where: its path, for messages.

    Raises:
      UserError: it is of another family, lacks a key, has a value that no model can have, or asks for what the decoder
        does not compute.
    """
    family = FAMILIES.get(str(content.get("model_type")))
    if family is None:
        known = ", ".join(FAMILIES)
        raise UserError(f"{where}: model_type is {content.get('model_type')!r}; the families that load are {known}")
    for key, wanted in _REQUIRED.items():
        if content.get(key, wanted) != wanted:
            raise UserError(
                f"{where}: {key} is {content[key]!r}; only {wanted!r} is supported, give another checkpoint"
            )
    try:
        rope, heads = _rope(content), content["num_attention_heads"]
        theta = _given(rope, "rope_theta", 10_000.0)
        return ModelConfig(
            vocab_size=content["vocab_size"],
            width=content["hidden_size"],
            layers=content["num_hidden_layers"],
            heads=heads,
            kv_heads=_given(content, "num_key_value_heads", family.kv_heads or heads),
            mlp_width=content["intermediate_size"],
            head_width=_given(content, "head_dim", family.head_width),
            # Often an integer, which JAX would take for one of 32 bits.
            rope_theta=float(theta) if isinstance(theta, int) else theta,
            rope_scaling=_rope_scaling(rope, _given(content, "max_position_embeddings", _CONTEXT)),
            attention_bias=family.attention_bias,
            qk_norm=family.qk_norm,
            norm_eps=content.get("rms_norm_eps", 1e-6),
            tied_embeddings=content.get("tie_word_embeddings", False),
            context=content.get("max_position_embeddings"),
        )
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except KeyError as error:
        raise UserError(f"{where}: {error.args[0]} is missing: download the file again") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{where}: a value has the wrong type ({error}): download the file again") from None


def config_json(config: ModelConfig, *, scorer: bool, dtype: str, special_ids: Mapping[str, int]) -> dict[str, Any]:
    """The `config.json` of a model, with the keys that both old and present versions of transformers read.

    Args:
      config: the model.
      scorer: whether it is written as a token classifier.
      dtype: of the tensors.
      special_ids: `bos_token_id`, `eos_token_id`, `pad_token_id`.

    Raises:
      UserError: no family has the model's parts.
    """
    family: Family = family_of(config)
    task = "TokenClassification" if scorer else "CausalLM"
    content = {
        "architectures": [f"{family.class_name}For{task}"],
        "model_type": family.model_type,
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_features,
        "intermediate_size": config.mlp_width,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": _scaling_json(config.rope_scaling),
        "max_position_embeddings": config.context or _CONTEXT,
        # A classifier has no output table to tie.
        "tie_word_embeddings": config.tied_embeddings,
        "torch_dtype": dtype,
        **special_ids,
    }
    if scorer:
        content["id2label"] = {str(index): label for index, label in enumerate(LABELS)}
        content["label2id"] = {label: index for index, label in enumerate(LABELS)}
        content["classifier_dropout"] = 0.0
    return content


def _given(content: Mapping[str, Any], key: str, default: Any) -> Any:
    """A value, or the default where it is left out or null."""
    value = content.get(key)
    return default if value is None else value


def _rope(content: Mapping[str, Any]) -> dict[str, Any]:
    """All keys on rotary positions: transformers 5 keeps them in one place, earlier versions in two."""
    theta = {"rope_theta": content["rope_theta"]} if "rope_theta" in content else {}
    return theta | _given(content, "rope_scaling", {}) | _given(content, "rope_parameters", {})


def _rope_scaling(rope: Mapping[str, Any], context: Any) -> RopeScaling | None:
    """The scaling that the keys on rotary positions ask for; rows of pretraining are of `context` where none says."""
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    unknown = {"mscale", "mscale_all_dim"} & set(rope) or rope.get("truncate") is False
    if kind not in ("linear", "llama3", "yarn") or unknown:
        raise UserError(f"rotary scaling {rope} is not supported; linear, llama3 and yarn are")
    original = _given(rope, "original_max_position_embeddings", context)
    optional = ("low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "attention_factor")
    given = {name: rope[name] for name in optional if rope.get(name) is not None}
    return RopeScaling(kind=kind, factor=rope["factor"], original_context=original, **given)


def _scaling_json(scaling: RopeScaling | None) -> dict[str, Any] | None:
    if scaling is None:
        return None
    content: dict[str, Any] = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind == "linear":
        return content
    own = ("low_freq_factor", "high_freq_factor") if scaling.kind == "llama3" else ("beta_fast", "beta_slow")
    content |= {name: getattr(scaling, name) for name in own}
    if scaling.attention_factor is not None:
        content["attention_factor"] = scaling.attention_factor
    return content | {"original_max_position_embeddings": scaling.original_context}
