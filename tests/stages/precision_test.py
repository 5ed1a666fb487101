"""`ModelConfig.dtype` is honoured by every program of a run, read off what JAX traces; nothing is computed.

Layers multiply in bfloat16; parameters, moments, softmax, losses and logits are float32.
"""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from prm_jax.models.config import LoraConfig, ModelConfig
from prm_jax.parallel.mesh import MeshConfig, make_mesh
from prm_jax.ppo.arms import Arm, PrmRefreshConfig
from prm_jax.ppo.config import PpoConfig
from prm_jax.ppo.rewards import PrmMean
from prm_jax.stages.experiment import Experiment, LearningConfig, ProblemSets, TextConfig
from prm_jax.stages.programs import programs

LEARNING = LearningConfig(batch_size=4)
EXPERIMENT = Experiment(
    "precision",
    ProblemSets(),
    text=TextConfig(vocabulary_size=320, max_length=24, max_prompt=8),
    model=ModelConfig(width=16, layers=2, heads=2, kv_heads=2, mlp_width=32, dtype="bfloat16"),
    sft=LEARNING,
    prm=LEARNING,
    ppo=PpoConfig(prompts_per_update=4, samples_per_prompt=1, max_new_tokens=8, epochs=1, minibatches=1, score_batch=4),
    arms=(
        Arm("prm_online", PrmMean(), "prm", exact_labels=True, critic="prm", refresh=PrmRefreshConfig(batch_size=4)),
    ),
)
NAMES = ["sft step", "prm step", "sample", "score policy", "score steps", "ppo update", "prm refresh"]


def operations(jaxpr):
    """All operations of a program, those of its loops and branches too."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from operations(inner)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("name", NAMES)
def test_layers_are_bfloat16_and_what_adds_up_is_float32(name, rank):
    model = dataclasses.replace(EXPERIMENT.model, lora=LoraConfig(rank=rank))
    mesh = make_mesh(MeshConfig(1, 1, 1), jax.devices()[:1])
    (program,) = (
        each for each in programs(dataclasses.replace(EXPERIMENT, model=model), mesh) if each.name.startswith(name)
    )
    with jax.set_mesh(mesh):
        traced = program.trace()
    found = list(operations(traced.jaxpr.jaxpr))
    half = [
        equation.primitive.name
        for equation in found
        if any(getattr(variable.aval, "dtype", None) == jnp.bfloat16 for variable in equation.invars)
    ]
    # Seven kernels and two products of attention in a block, and the table where there are logits.
    assert half.count("dot_general") >= 9
    assert not {"exp", "log", "log1p", "cumsum", "rsqrt", "reduce_max", "argmax"} & set(half)
    floats = [leaf.dtype for leaf in jax.tree.leaves(traced.out_info) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert floats and set(floats) == {jnp.dtype("float32")}
