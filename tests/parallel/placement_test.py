"""Where things lie on a mesh: under the presets `fsdp` and `fsdp_tensor` nothing large is whole on a device.

Shapes and compiled programs tell it; no weights are made but for one test of how they are born.
"""

import functools
import math
import re

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType

from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import boxed_policy, boxed_scorer, init_policy, init_scorer
from prm_jax.parallel.mesh import MeshConfig, make_mesh
from prm_jax.parallel.shardings import batch_sharding, init_shapes, shapes_in, split_rows
from prm_jax.ppo import update
from prm_jax.ppo.arms import Arm, PrmRefreshConfig
from prm_jax.ppo.config import PpoConfig
from prm_jax.ppo.critic import boxed_critic
from prm_jax.ppo.rewards import PrmMean
from prm_jax.stages.experiment import Experiment, LearningConfig, ProblemSets, TextConfig
from prm_jax.stages.programs import programs
from prm_jax.stages.workbench import train_state_shapes
from prm_jax.training.optimizer import OptimizerConfig, make_optimizer

LARGE = 2**20
FAMILIES = {
    "smollm2-135m": ModelConfig(vocab_size=49152, width=576, layers=30, heads=9, kv_heads=3, mlp_width=1536),
    "qwen2.5-1.5b": ModelConfig(
        vocab_size=151936, width=1536, layers=28, heads=12, kv_heads=2, mlp_width=8960, attention_bias=True
    ),
    "qwen3-0.6b": ModelConfig(
        vocab_size=151936, width=1024, layers=28, heads=16, kv_heads=8, mlp_width=3072, head_width=128, qk_norm=True
    ),
    "qwen2.5-7b": ModelConfig(
        vocab_size=152064, width=3584, layers=28, heads=28, kv_heads=4, mlp_width=18944, attention_bias=True,
        tied_embeddings=False,
    ),
}  # fmt: skip
PRESETS = {"fsdp": (1, 8, 1), "fsdp_tensor": (1, 4, 2), "copies_of_fsdp": (2, 4, 1)}


def whole_leaves(shapes, fsdp):
    """Leaves above 1 MiB of which a device holds more than its part."""
    return [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree.leaves_with_path(shapes)
        if leaf.size * leaf.dtype.itemsize > LARGE
        and math.prod(leaf.sharding.shard_shape(leaf.shape)) * fsdp > leaf.size
    ]


@pytest.fixture(params=PRESETS)
def many_devices(request):
    return AbstractMesh(PRESETS[request.param], ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_large_leaf_of_a_training_state_is_whole(family, many_devices):
    model, optimizer = FAMILIES[family], make_optimizer(OptimizerConfig(accumulate=2))
    for boxed_init in (boxed_policy, boxed_scorer):
        state = train_state_shapes(functools.partial(boxed_init, model), optimizer, many_devices)
        assert sum(leaf.size * 4 > LARGE for leaf in jax.tree.leaves(state)) > 20
        assert whole_leaves(state, many_devices.shape["fsdp"]) == []


@pytest.mark.parametrize("kind", ["head", "prm"])
def test_no_large_leaf_of_a_ppo_state_is_whole(kind, many_devices):
    config, model = PpoConfig(), FAMILIES["qwen2.5-7b"]
    params = init_shapes(functools.partial(boxed_policy, model), many_devices)
    critic = init_shapes(functools.partial(boxed_critic, kind, model, config.critic.width), many_devices)
    state = jax.eval_shape(functools.partial(update.init_state, config), params, critic)
    state = shapes_in(state, update.shardings_of(state, config, model, kind, many_devices))
    assert any(leaf.size * 4 > LARGE for leaf in jax.tree.leaves(state.critic_opt_state))
    assert whole_leaves(state, many_devices.shape["fsdp"]) == []


# No other length is 40 or a multiple of it, so that a tensor with an axis of 40 holds all rows.
ROWS, PROMPT, NEW = 40, 16, 32
LEARNING = LearningConfig(batch_size=ROWS)
EXPERIMENT = Experiment(
    "placement",
    ProblemSets(),
    text=TextConfig(vocabulary_size=2048, max_length=PROMPT + NEW, max_prompt=PROMPT),
    model=ModelConfig(width=128, layers=2, heads=4, kv_heads=2, mlp_width=384),
    sft=LEARNING,
    prm=LEARNING,
    ppo=PpoConfig(
        prompts_per_update=ROWS, samples_per_prompt=1, max_new_tokens=NEW, epochs=1, minibatches=1, score_batch=ROWS
    ),
    arms=(
        Arm(
            "prm_online", PrmMean(), "prm", exact_labels=True, critic="prm",
            refresh=PrmRefreshConfig(steps=2, batch_size=ROWS, buffer_rollouts=1),
        ),
    ),
)  # fmt: skip
NAMES = ["sft step", "prm step", "sample", "score policy", "score steps", "ppo update", "prm refresh"]
ITEMSIZES = {"f32": 4, "s32": 4, "u32": 4, "pred": 1, "s64": 8, "u64": 8, "bf16": 2}


@pytest.fixture(scope="module", params=PRESETS)
def mesh(request):
    return make_mesh(MeshConfig(*PRESETS[request.param]))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_device_holds_the_activations_of_all_rows(name, mesh):
    (program,) = (each for each in programs(EXPERIMENT, mesh) if each.name.startswith(name))
    with jax.set_mesh(mesh):
        traced = program.trace()
        compiled = traced.lower().compile()
    shapes = {
        (dtype, tuple(map(int, lengths.split(","))))
        for dtype, lengths in re.findall(r"\b([a-z]+\d*)\[([\d,]+)\]", compiled.as_text())
        if dtype in ITEMSIZES
    }
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    assert any(lengths[0] == ROWS // parts for _, lengths in shapes)
    # Rows of ids are small enough to be whole. In a table split by features all rows are looked up by parts of them.
    features = 128 // mesh.shape["fsdp"]
    whole = [(dtype, lengths) for dtype, lengths in shapes if ROWS in lengths and lengths[-1] != features]
    assert [s for s in whole if math.prod(s[1]) * ITEMSIZES[s[0]] > 2**16] == []
    if name == "sample":
        cache = (ROWS // parts, 2 // mesh.shape["tensor"], PROMPT + NEW, 32)
        assert ("f32", cache) in shapes
    if name in ("sft step", "prm step", "ppo update", "prm refresh"):
        assert_gives_back_as_it_takes(traced, compiled)


def assert_gives_back_as_it_takes(traced, compiled):
    """A step's first argument and first result are the state, in the same shardings."""
    taken, given = compiled.input_shardings[0][0], compiled.output_shardings[0]
    for shape, before, after in zip(*map(jax.tree.leaves, (traced.out_info[0], taken, given)), strict=True):
        assert before.is_equivalent_to(after, len(shape.shape))


def test_networks_are_born_split_where_a_mesh_is_set(mesh):
    model = ModelConfig(width=128, layers=1, heads=4, kv_heads=2, mlp_width=384)
    with jax.set_mesh(mesh):
        policy = init_policy(model, jax.random.key(0))
        scorer = init_scorer(model, jax.random.key(0), policy)
        rows = split_rows(np.zeros((8, 3), np.int32))
    parts = mesh.shape["fsdp"]
    for table in (policy["trunk"]["embedding"], scorer["trunk"]["embedding"]):
        assert table.sharding.shard_shape(table.shape) == (512 // mesh.shape["tensor"], 128 // parts)
    assert scorer["head"]["kernel"].sharding.shard_shape((128,)) == (128 // parts,)
    assert rows.sharding.is_equivalent_to(batch_sharding(mesh), 2)
