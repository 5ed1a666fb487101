"""The loop on a toy: it learns, it resumes to the same bits, it refuses what it must.

The "programs" are bytes, and the verifier is a function: nothing here needs a sandbox.
"""

import dataclasses
import functools
import threading
import time

import jax
import numpy as np
import pytest

from prm_jax.ahead import memory
from prm_jax.batches import PromptBatch
from prm_jax.errors import UserError
from prm_jax.execution.verdict import Outcome
from prm_jax.labelling.labelled_program import Label
from prm_jax.models.config import LoraConfig, ModelConfig
from prm_jax.models.lora import trainable
from prm_jax.models.policy import init_policy, init_scorer
from prm_jax.ppo import learner, online, rewards, timeline
from prm_jax.ppo.arms import Arm, PrmRefreshConfig
from prm_jax.ppo.config import CriticConfig, PpoConfig
from prm_jax.ppo.critic import init_head
from prm_jax.ppo.loop import train
from prm_jax.ppo.quality import Quality
from prm_jax.ppo.update import init_state
from prm_jax.ppo.verify import Verified
from prm_jax.problems.problem import Problem
from prm_jax.text.steps import split_steps
from prm_jax.training.checkpoint import Checkpointer
from prm_jax.training.metrics import read_metrics, read_rows

WANTED = "7"
MODEL = ModelConfig(vocab_size=8, width=16, layers=1, heads=2, kv_heads=2, mlp_width=32)
CONFIG = PpoConfig(
    updates=4,
    prompts_per_update=4,
    samples_per_prompt=4,
    max_new_tokens=4,
    critic=CriticConfig(width=8),
    minibatches=2,
    checkpoint_every=2,
    kl_coefficient=0.0,
)
PROMPTS = PromptBatch(
    np.tile(np.array([[1, 3, 4]], np.int32), (4, 1)), np.full(4, 3, np.int32), np.arange(4, dtype=np.int32)
)
PROBLEMS = [Problem(f"toy/{i}", "toy", "train", "", "f", "", ()) for i in range(4)]
ONLINE = Arm(
    "prm_online",
    rewards.PrmMean(),
    "prm",
    exact_labels=True,
    refresh=PrmRefreshConfig(steps=2, batch_size=8, buffer_rollouts=2),
)


class ToyTokenizer:
    """Ids 0 to 2 are pad, bos and eos; 3 to 6 are the digits 3 to 6, and 7 is `WANTED`."""

    vocab_size, pad_id, bos_id, eos_id, fingerprint = 8, 0, 1, 2, "toy"

    def encode(self, text):
        return [int(letter) for letter in text]

    def decode(self, ids):
        return "".join(str(i) for i in ids if i > 2)

    def token_bytes(self, token_id):
        return str(token_id).encode() if token_id > 2 else b""

    def save(self, path):
        raise AssertionError("the loop saves no tokenizer")


def starts_right(problems, texts, exact) -> list[Verified]:
    """A program passes if its first byte is the wanted one; every step of one that fails is wrong."""
    verdicts = []
    for text in texts:
        passed = text.startswith(WANTED)
        label = Label.RIGHT if passed else Label.WRONG
        labels = (label,) * len(split_steps(text)) if exact else None
        verdicts.append(Verified(Outcome.PASSED if passed else Outcome.WRONG_ANSWER, labels))
    return verdicts


@functools.cache
def models():
    key = jax.random.key(0)
    return (jax.jit(init_policy, static_argnums=0)(MODEL, key), jax.jit(init_scorer, static_argnums=0)(MODEL, key))


def run(directory, config=CONFIG, arm=None, verify=starts_right, **changes):
    policy, scorer = models()
    arguments = {
        "model": MODEL,
        "policy_params": policy,
        "reference_params": policy,
        "scorer_params": scorer,
        "prompts": PROMPTS,
        "problems": PROBLEMS,
        "tokenizer": ToyTokenizer(),
        "verify": verify,
        "directory": directory,
    }
    return train(config, arm or Arm(), **(arguments | changes))


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def test_a_policy_learns_to_pass(tmp_path):
    """From one in eight to nine in ten: the learning floor."""
    config = dataclasses.replace(
        CONFIG, updates=25, samples_per_prompt=16, learning_rate=1e-2, max_new_tokens=2, checkpoint_every=25
    )
    run(tmp_path, config)
    rows = read_metrics(tmp_path)
    assert rows[0]["rollout/pass_rate"] < 0.4
    assert np.mean([row["rollout/pass_rate"] for row in rows[-3:]]) > 0.8
    assert all(row["rollout/logprob_gap"] < 1e-3 for row in rows)


def test_quality_raises_the_reward_of_passing_programs_by_its_share(tmp_path):
    def passes(problems, texts, exact, integrity=None):
        return [Verified(Outcome.PASSED, integrity=integrity)] * len(texts)

    measured = functools.partial(passes, integrity=(1.0, 0.5, 0.25, 1.0, 1.0))
    config = dataclasses.replace(CONFIG, updates=1)
    run(tmp_path / "plain", config, verify=passes)
    run(tmp_path / "quality", config, Arm(quality=Quality(weight=0.3)), measured)
    (plain,), (quality,) = read_metrics(tmp_path / "plain"), read_metrics(tmp_path / "quality")
    assert plain["rollout/mean_reward"] > 0 and "rollout/integrity_naming" not in plain
    assert quality["rollout/mean_reward"] == pytest.approx((1 + 0.3 * 1.75 / 3) * plain["rollout/mean_reward"])
    assert quality["rollout/integrity_naming"] == 0.5


def test_a_killed_run_resumes_to_the_same_bits(tmp_path):
    """The arm with most to carry on: PRM, its optimiser and the buffer."""
    whole = run(tmp_path / "whole", arm=ONLINE)
    calls = 0

    def dies(problems, texts, exact):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return starts_right(problems, texts, exact)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", arm=ONLINE, verify=dies)
    resumed = run(tmp_path / "cut", arm=ONLINE)
    assert bits(resumed.params) == bits(whole.params)
    assert bits(resumed.scorer_params) == bits(whole.scorer_params)
    assert bits(whole.scorer_params) != bits(models()[1])
    assert read_metrics(tmp_path / "cut") == read_metrics(tmp_path / "whole")
    rows = read_metrics(tmp_path / "whole")
    # In a rollout of failures only there is nothing to rank.
    assert any(0 <= row.get("scorer/auc_before_refresh", -1) <= 1 for row in rows) and "refresh/loss" in rows[-1]
    # A finished run answers at once, without a single verdict.
    assert bits(run(tmp_path / "whole", arm=ONLINE, verify=None).params) == bits(whole.params)


CHUNKED = dataclasses.replace(CONFIG, rollout_chunks=2)


@pytest.mark.parametrize("config", [CHUNKED, dataclasses.replace(CHUNKED, one_step_off=True)], ids=["chunks", "ahead"])
def test_a_run_ahead_of_its_verdicts_resumes_to_the_same_bits(tmp_path, config):
    """Killed in the third update; one step off, the checkpoint holds the rollout that was sampled before the second."""
    whole = run(tmp_path / "whole", config)
    calls = 0

    def dies(problems, texts, exact):
        nonlocal calls
        calls += 1
        if calls > 6:
            raise KeyboardInterrupt
        return starts_right(problems, texts, exact)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", config, verify=dies)
    assert 2 <= len(read_metrics(tmp_path / "cut")) < 4
    resumed = run(tmp_path / "cut", config)
    assert bits(resumed.params) == bits(whole.params) != bits(models()[0])
    assert read_metrics(tmp_path / "cut") == read_metrics(tmp_path / "whole")
    rows = read_rows(tmp_path / "cut" / timeline.FILE_NAME)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert {span.phase for span in timeline.from_row(rows[-1])} >= {"rollout", "verification", "scoring", "update"} - (
        {"rollout", "verification"} if config.one_step_off else set()
    )
    assert bits(run(tmp_path / "whole", config, verify=None).params) == bits(whole.params)


@pytest.mark.slow
def test_one_step_off_a_rollout_is_of_the_policy_before_the_update_before_it(tmp_path):
    """The first update is that of a synchronous run; in the second, the policy has moved away from its rollout."""

    def says_nothing(problems, texts, exact):
        """Passes empty programs, which are some and, unlike longer ones, never cut: so that every update learns."""
        return [Verified(Outcome.WRONG_ANSWER if text else Outcome.PASSED) for text in texts]

    config = dataclasses.replace(CONFIG, updates=3, value_only_updates=0, learning_rate=1e-2)
    synchronous = run(tmp_path / "synchronous", config, verify=says_nothing)
    ahead = run(tmp_path / "ahead", ahead_of(config), verify=says_nothing)
    rows = read_metrics(tmp_path / "ahead")
    named = {"update/importance_mean", "update/importance_max", "update/importance_truncated"}
    assert all(named <= row.keys() for row in rows)
    assert not any(named & row.keys() for row in read_metrics(tmp_path / "synchronous"))
    first, wanted = rows[0], read_metrics(tmp_path / "synchronous")[0]
    assert {name: first[name] for name in wanted} == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    assert first["update/importance_max"] == pytest.approx(1.0, abs=1e-4)
    assert first["rollout/logprob_gap"] < 1e-3 < rows[1]["rollout/logprob_gap"]
    assert rows[1]["update/importance_max"] > 1.01
    assert bits(ahead.params) != bits(synchronous.params)


def ahead_of(config):
    return dataclasses.replace(config, one_step_off=True)


def test_one_step_off_the_sandbox_is_free_between_updates(tmp_path):
    """What evaluates between two updates may use it."""
    running = threading.Lock()

    def busy(problems, texts, exact):
        with running:
            time.sleep(0.05)
            return starts_right(problems, texts, exact)

    def evaluate(params, step):
        return {"free": float(not running.locked())}

    config = dataclasses.replace(ahead_of(CONFIG), updates=3, evaluate_every=1)
    result = run(tmp_path, config, verify=busy, evaluate=evaluate)
    assert [row["free"] for row in result.history] == [1.0] * 4


def test_what_no_rollout_can_be_is_refused():
    with pytest.raises(UserError, match="rollout_chunks is 3, which does not divide"):
        dataclasses.replace(CONFIG, rollout_chunks=3)
    with pytest.raises(UserError, match="importance_cap"):
        dataclasses.replace(CONFIG, importance_cap=0.5)
    for name in ("minibatches", "samples_per_prompt", "prompts_per_update", "max_new_tokens", "updates"):
        with pytest.raises(UserError, match=f"PpoConfig.{name} is 0"):
            dataclasses.replace(CONFIG, **{name: 0})
    with pytest.raises(UserError, match="seed is -1"):
        dataclasses.replace(CONFIG, seed=-1)
    with pytest.raises(UserError, match="the controller multiplies"):
        dataclasses.replace(CONFIG, kl_target=0.1, kl_coefficient=0.0)


@pytest.mark.slow
def test_adapters_alone_are_trained_and_a_killed_run_resumes_to_the_same_bits(tmp_path):
    """Policy, reference, PRM and a critic from the PRM share one trunk, which keeps its bits."""
    model = dataclasses.replace(MODEL, lora=LoraConfig(rank=2))
    policy = init_policy(model, jax.random.key(0))
    scorer = init_scorer(model, jax.random.key(1), policy)
    before = bits(policy)
    arm = dataclasses.replace(ONLINE, critic="prm")
    networks = {"model": model, "policy_params": policy, "reference_params": policy, "scorer_params": scorer}
    config = dataclasses.replace(CONFIG, updates=3, checkpoint_every=1, value_only_updates=0, kl_coefficient=0.1)
    calls = 0

    def dies(problems, texts, exact):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return starts_right(problems, texts, exact)

    whole = run(tmp_path / "whole", config, arm, **networks)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", config, arm, dies, **networks)
    resumed = run(tmp_path / "cut", config, arm, **networks)
    assert bits(policy) == before
    for found, again in ((whole.params, resumed.params), (whole.scorer_params, resumed.scorer_params)):
        assert bits(found) == bits(again)
        assert all(a is b for a, b in zip(*map(jax.tree.leaves, (found["trunk"], policy["trunk"])), strict=True))
    assert bits(whole.params["adapters"]) != bits(policy["adapters"])
    assert bits(whole.scorer_params["adapters"]) != bits(scorer["adapters"])
    with Checkpointer(tmp_path / "whole" / "checkpoints") as checkpoints:
        names = checkpoints._metadata(3)["leaves"]  # Which leaves there are is nobody else's business.
    assert len(names) > 100 and not any("trunk" in name for name in names)
    rows = read_metrics(tmp_path / "whole")
    # The sampler's adapters are added up once, the learner's in every block: that changes nothing but the rounding.
    assert all(row["rollout/logprob_gap"] < 1e-4 for row in rows)
    assert rows[0]["update/kl"] == 0 and rows[-1]["update/kl"] > 0


def test_moments_are_those_of_adapters():
    def moments(model):
        shapes = jax.eval_shape(lambda: trainable(init_policy(model, jax.random.key(0)), model))
        critic = jax.eval_shape(lambda: init_head(model, 8, jax.random.key(0)))
        state = jax.eval_shape(functools.partial(init_state, CONFIG), shapes, critic)
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state.opt_state)), shapes

    model = ModelConfig(vocab_size=512, width=128, layers=4, heads=4, kv_heads=2, mlp_width=384)
    full, _ = moments(model)
    small, adapters = moments(dataclasses.replace(model, lora=LoraConfig(rank=4)))
    own = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(adapters))
    assert small < full / 10 and small == pytest.approx(2 * own, abs=16)


@pytest.mark.slow
def test_a_critic_from_the_prm_is_fitted_to_the_first_returns(tmp_path):
    config = dataclasses.replace(CONFIG, updates=1, evaluate_every=1)
    arm = Arm("prm_mean_critic", rewards.PrmMean(), "prm", critic="prm")
    seen = []
    result = run(tmp_path, config, arm, evaluate=lambda params, step: seen.append(step) or {"pass": 0.5})
    first = read_metrics(tmp_path)[1]
    assert first["update/explained_variance"] > -0.5
    assert seen == [0, 1] and result.history == ({"step": 0, "pass": 0.5}, {"step": 1, "pass": 0.5})
    assert result.seconds["rollout"] > 0 and result.seconds["update"] > 0
    with Checkpointer(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest() == 1


def test_too_many_unknown_verdicts_stop_the_run(tmp_path):
    def blind(problems, texts, exact):
        return [Verified(Outcome.UNKNOWN)] * len(texts)

    with pytest.raises(UserError, match="100% of the verdicts of update 1 are unknown"):
        run(tmp_path, verify=blind)


@pytest.mark.parametrize("network", ["policy", "reference"])
def test_an_update_that_is_not_finite_names_where_it_began(tmp_path, network):
    """One NaN makes every log-probability, and then every gradient, NaN."""
    path = ("trunk", "blocks", "mlp", "up")
    poisoned = jax.tree_util.tree_map_with_path(
        lambda name, leaf: leaf.at[0, 0, 0].set(np.nan) if tuple(key.key for key in name) == path else leaf, models()[0]
    )
    config = dataclasses.replace(CONFIG, kl_coefficient=0.1)
    told = rf"update/\w+ is nan at update 1, .* before it is {network}.{'.'.join(path)}; there is no checkpoint"
    with pytest.raises(UserError, match=told):
        run(tmp_path, config, **{f"{network}_params": poisoned})
    assert not list(tmp_path.glob("checkpoints/*"))


def test_an_update_that_is_not_finite_though_all_before_it_was_says_so(tmp_path, monkeypatch):
    make = learner.make_update

    def make_ruining(*given):
        update = make(*given)

        def ruin(*taken):
            state, metrics = update(*taken)
            return state, metrics | {"value_loss": np.nan}

        ruin.trace = update.trace
        return ruin

    monkeypatch.setattr(learner, "make_update", make_ruining)
    with pytest.raises(UserError, match="value_loss is nan at update 1, .* before it is none; there is no"):
        run(tmp_path)


def test_a_refresh_that_ruins_the_prm_is_named_and_leaves_the_checkpoint_before_it(tmp_path):
    """The third refresh is not finite: its loss still is, for it is that of the parameters before it."""
    config = dataclasses.replace(CONFIG, updates=3, checkpoint_every=1)
    make = online.make_refresh

    def ruining(*given):
        refresh, calls = make(*given), []

        def ruin(state, key, frozen=None):
            state, metrics = refresh(state, key, frozen)
            calls.append(key)
            ruined = jax.tree.map(lambda leaf: leaf * np.float32("nan"), state.params)
            return (state.replace(params=ruined) if len(calls) == 3 else state), metrics

        return ruin

    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError, match="refresh of update 3 ruined the prm"):
        patch.setattr(online, "make_refresh", ruining)
        run(tmp_path, config, ONLINE)
    with Checkpointer(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest() == 2


PROGRAMS = ("sampling", "scoring", "scoring by the prm", "update", "refresh")


@pytest.mark.parametrize("one_step_off", [False, True])
def test_what_an_update_needs_is_told_before_anything_is_sampled_and_compiled_once(tmp_path, capsys, one_step_off):
    compiled, told = [], []

    def verify(problems, texts, exact):
        told.append(capsys.readouterr().out)
        return starts_right(problems, texts, exact)

    # No other test has programs of these shapes.
    config = dataclasses.replace(CONFIG, updates=2, max_new_tokens=5 + one_step_off, one_step_off=one_step_off)
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **more: compiled.append(more.get("fun_name")) if "backend_compile" in name else None
    )
    try:
        run(tmp_path, config, ONLINE, verify)
    finally:
        jax.monitoring.clear_event_listeners()
    lines = told[0].splitlines()
    assert [line.split(": ")[1] for line in lines if line.startswith("ppo prm_online: ")] == list(PROGRAMS)
    assert all("GiB" in line for line in lines if line.startswith("ppo prm_online: "))
    for name in ("sample_arrays", "score_policy", "score_steps", "learn"):
        assert compiled.count(f"jit({name})") == 1, name
    assert len([name for name in compiled if name and "update" in name]) == 1


def test_what_does_not_fit_is_refused_before_anything_is_sampled_or_written(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "capacity", lambda: 2.0**10)
    with pytest.raises(UserError, match=r"ppo outcome: sampling: .* needs .*: set ModelConfig\.remat=True"):
        run(tmp_path, verify=lambda *_: pytest.fail("something was sampled"))
    assert not read_metrics(tmp_path)


def test_what_cannot_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="control"):
        run(tmp_path, arm=Arm("sft_more", control="sft_more"))
    with pytest.raises(UserError, match="reads a prm"):
        run(tmp_path, arm=ONLINE, scorer_params=None)
