"""Command `export`: a finished network of a run in, a Hugging Face folder for `transformers` out.

It works in the host's memory: a network that was trained split over accelerators need not fit on one of them.
"""

from __future__ import annotations

import dataclasses
import os

import jax
from etils import epath
from jax.sharding import Mesh

from prm_jax.errors import UserError
from prm_jax.models.checkpoint_save import save_policy, save_scorer
from prm_jax.models.lora import merged
from prm_jax.parallel.mesh import MeshConfig, make_mesh
from prm_jax.sampling.rules import SamplingConfig
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.stages.workbench import load_policy, load_scorer, load_tokenizer, model_config
from prm_jax.text.pretrained import special_ids, write_files

SCORERS = ("prm", "orm")


def export(experiment: Experiment, run_dir: str, out: str, network: str = "sft", dtype: str = "float32") -> None:
    """Writes weights, configuration and tokenizer as the ecosystem's tools read them; adapters are added up.

    Args:
      experiment: the experiment.
      run_dir: its run directory.
      out: the folder to write; must not hold anything yet.
      network: `"sft"`, the name of a trained arm (a causal language model), `"prm"` or `"orm"` (a token classifier).
      dtype: of the weights, `"float32"` or `"bfloat16"`.

    Raises:
      UserError: the network is not trained, the folder is a file or not empty, no published family is built alike, or
        JAX has no CPU device.
    """
    run, folder = RunDirectory(run_dir), epath.Path(out)
    if folder.is_file():
        raise UserError(f"{out} is a file: give --out a folder that is still to be made")
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{out} is not empty: give --out a folder that is still to be made")
    mesh, tokenizer = _host(), load_tokenizer(run)
    model = model_config(experiment, tokenizer)
    ids = {f"{name}_token_id": token_id for name, token_id in special_ids(tokenizer).items()}
    longest = max(experiment.text.max_length, experiment.text.max_prompt + experiment.sampling.max_new_tokens)
    shape = dataclasses.replace(model, context=model.context or longest)
    if network in SCORERS:
        scorer, shape = merged(load_scorer(experiment, run, network, model, mesh), shape)
        save_scorer(folder, scorer, shape, special_ids=ids, dtype=dtype)
    else:
        stage = network if network == "sft" else f"ppo/{network}"
        policy, shape = merged(load_policy(experiment, run, stage, model, mesh), shape)
        generation = _generation(experiment.sampling)
        save_policy(folder, policy, shape, special_ids=ids, generation=generation, dtype=dtype)
    write_files(tokenizer, folder)
    print(f"export: {network} is in {out}")


def _host() -> Mesh:
    """The host's CPU as a mesh."""
    try:
        devices = jax.devices("cpu")[:1]
    except RuntimeError:
        platforms = os.environ.get("JAX_PLATFORMS", "")
        raise UserError(
            f"export works on the CPU, and JAX_PLATFORMS={platforms} leaves it out: set it to {platforms},cpu"
        ) from None
    return make_mesh(MeshConfig(), devices)


def _generation(sampling: SamplingConfig) -> dict[str, float]:
    """The sampling rule in the words of `generation_config.json`."""
    limits: dict[str, float] = {"max_new_tokens": sampling.max_new_tokens, "do_sample": not sampling.greedy}
    if sampling.greedy:
        return limits
    return limits | {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p}
