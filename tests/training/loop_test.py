"""The loop: a run that was stopped, however, ends with the bits of the run that was not."""

import dataclasses
import math
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.errors import Interrupted, UserError
from prm_jax.training.loop import FitConfig, fit
from prm_jax.training.metrics import FILE_NAME, read_metrics
from prm_jax.training.optimizer import OptimizerConfig

CONFIG = FitConfig(steps=12, evaluate_every=4, checkpoint_every=5, log_every=3, seed=1)
OPTIMIZER = OptimizerConfig(1e-2, warmup_steps=2, total_steps=12)


class KilledError(Exception):
    """Stands for a kill: nothing catches it."""


def evaluate(params, step):
    return {"size": float(jnp.sum(jnp.abs(params["dense"]["kernel"])))}


def run(toy, directory, config=CONFIG, batches_from=None, **keywords):
    state, train_step = toy.make(OPTIMIZER, seed=config.seed)
    keywords = {"evaluate": evaluate, "monitor": "size", **keywords}
    return fit(config, state, train_step, batches_from or toy.batches_from, directory=directory, **keywords)


def at_step(toy, stop, action):
    """Batches that do something when the batch of step `stop` (from 1) is asked for."""

    def batches_from(start):
        for step, batch in enumerate(toy.batches_from(start), start + 1):
            if step == stop:
                action()
            yield batch

    return batches_from


def kill():
    raise KilledError


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    return run(toy, directory), directory


def assert_same_run(toy, result, directory, whole):
    expected, expected_directory = whole
    assert toy.same_bits(result.state, expected.state)
    assert toy.same_bits(result.best_params, expected.best_params)
    assert (result.history, result.steps, result.stopped_early) == (expected.history, expected.steps, False)
    assert (directory / FILE_NAME).read_bytes() == (expected_directory / FILE_NAME).read_bytes()


def test_a_run_steps_logs_and_evaluates_when_it_should(toy, whole):
    result, directory = whole
    assert result.steps == 12 and result.state.step == 12
    assert [row["step"] for row in result.history] == [4, 8, 12]
    rows = read_metrics(directory)
    assert [row["step"] for row in rows if "train/loss" in row] == [3, 6, 9, 12]
    assert [row["step"] for row in rows if "evaluation/size" in row] == [4, 8, 12]
    # The loop does what its train step does, batch by batch, and nothing else.
    state, train_step = toy.make(OPTIMIZER, seed=CONFIG.seed)
    for step in range(12):
        state, _ = train_step(state, jax.tree.map(jnp.asarray, toy.batch_at(step)))
    assert toy.same_bits(state, result.state)


@pytest.mark.parametrize("step", [3, 7, 11])
def test_a_killed_run_resumes_to_the_same_bits(toy, tmp_path, whole, step):
    """Killed before the first checkpoint, between two, and after an evaluation that no checkpoint holds."""
    with pytest.raises(KilledError):
        run(toy, tmp_path, batches_from=at_step(toy, step, kill))
    assert_same_run(toy, run(toy, tmp_path), tmp_path, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_saves_and_resumes_to_the_same_bits(toy, tmp_path, whole, number):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=r"step 7 of 12 .*run the same command again") as caught:
        run(toy, tmp_path, batches_from=at_step(toy, 7, lambda: os.kill(os.getpid(), number)))
    assert caught.value.preempted == (number == signal.SIGTERM)
    assert signal.getsignal(number) is before
    assert (tmp_path / "checkpoints" / "7").exists()
    started = []
    result = run(toy, tmp_path, batches_from=lambda start: started.append(start) or toy.batches_from(start))
    assert started == [7]
    assert_same_run(toy, result, tmp_path, whole)


@pytest.mark.slow
def test_a_run_killed_by_the_system_resumes_to_the_same_bits(toy, tmp_path, whole):
    program = textwrap.dedent(f"""
        import importlib.util, time
        import jax
        jax.config.update("jax_num_cpu_devices", 8)
        from prm_jax.training.loop import FitConfig, fit
        from prm_jax.training.optimizer import OptimizerConfig
        spec = importlib.util.spec_from_file_location("toy", {str(pathlib.Path(__file__).with_name("toy.py"))!r})
        toy = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(toy)
        def batches_from(start):
            for step, batch in enumerate(toy.batches_from(start), start + 1):
                if step == 7:
                    print("here", flush=True)
                    time.sleep(600)
                yield batch
        def evaluate(params, step):
            return {{"size": float(jax.numpy.sum(jax.numpy.abs(params["dense"]["kernel"])))}}
        state, train_step = toy.make({OPTIMIZER!r}, seed=1)
        fit({CONFIG!r}, state, train_step, batches_from, directory={str(tmp_path)!r}, evaluate=evaluate,
            monitor="size")
    """)
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "here\n"
    finally:
        child.kill()
        child.wait()
    assert_same_run(toy, run(toy, tmp_path), tmp_path, whole)


def test_a_finished_run_is_given_back_at_once(toy, whole):
    expected, directory = whole
    result = run(toy, directory, batches_from=kill)
    assert toy.same_bits(result.state, expected.state) and toy.same_bits(result.best_params, expected.best_params)
    assert result.history == expected.history and result.steps == 12


def test_patience_stops_and_keeps_the_best(toy, tmp_path):
    seen, values = {}, {4: 0.5, 8: 0.9, 12: 0.95, 16: math.nan, 20: 0.97}

    def scripted(params, step):
        seen[step] = jax.tree.map(np.asarray, params)
        return {"pass@1": values[step]}

    # 0.95 and 0.97 rise by less than min_delta above the best, NaN is none: patience of 2 ends at step 16.
    config = FitConfig(steps=40, evaluate_every=4, checkpoint_every=3, patience=2, min_delta=0.1, seed=1)
    keywords = {"config": config, "evaluate": scripted, "monitor": "pass@1"}
    result = run(toy, tmp_path / "whole", **keywords)
    assert result.stopped_early and result.steps == 16 and result.best == 0.9
    assert toy.same_bits(result.best_params, seen[8]) and not toy.same_bits(result.best_params, seen[16])
    # Killed after the first failure: the resumed run must remember it, and the best parameters.
    with pytest.raises(KilledError):
        run(toy, tmp_path / "killed", batches_from=at_step(toy, 14, kill), **keywords)
    resumed = run(toy, tmp_path / "killed", **keywords)
    assert resumed.stopped_early and resumed.steps == 16 and toy.same_bits(resumed.best_params, seen[8])
    again = run(toy, tmp_path / "killed", batches_from=kill, **keywords)
    assert again.stopped_early and again.steps == 16


def test_without_a_monitor_the_last_parameters_are_the_best(toy, tmp_path):
    result = run(toy, tmp_path, evaluate=None, monitor=None)
    assert result.best_params is result.state.params and result.history == () and math.isnan(result.best)


def test_where_the_monitor_never_is_a_number_the_last_parameters_are_the_best(toy, tmp_path, capsys):
    keywords = {"monitor": "auc", "evaluate": lambda params, step: {"auc": math.nan}}
    config = dataclasses.replace(CONFIG, patience=1)
    result = run(toy, tmp_path / "none", config, **keywords)
    assert toy.same_bits(result.best_params, result.state.params) and math.isnan(result.best)
    # Nothing tells that learning has stopped: patience does not run out.
    assert result.steps == 12 and not result.stopped_early
    assert "training: auc never was a number" in capsys.readouterr().err
    again = run(toy, tmp_path / "none", config, batches_from=kill, **keywords)
    assert toy.same_bits(again.best_params, result.state.params)
    # One number among them is the best.
    once = lambda params, step: {"auc": 0.7 if step == 8 else math.nan}  # noqa: E731
    result = run(toy, tmp_path / "one", CONFIG, monitor="auc", evaluate=once)
    assert result.best == 0.7 and not toy.same_bits(result.best_params, result.state.params)
    assert "number" not in capsys.readouterr().err


def test_a_loss_that_is_not_finite_stops_at_its_step(toy, tmp_path):
    def loss_fn(params, batch, key):
        loss, metrics = toy.loss_fn(params, batch, key)
        loss = loss + 0 * batch.labels[0, 0] * jnp.sum(params["norm"]["scale"])
        return loss, {**metrics, "loss": loss}

    def batches_from(start):
        for step, batch in enumerate(toy.batches_from(start), start + 1):
            yield batch._replace(labels=np.where(step == 7, np.nan, batch.labels).astype(np.float32))

    state, train_step = toy.make(OPTIMIZER, loss=loss_fn)
    # Step 7 is seen when step 9 is logged: it is the step that is named, not the one of the look.
    where = r"\(all parameters were finite at step 6; the first bad gradient by name is that of norm.scale\)"
    with pytest.raises(UserError, match=f"training: loss is nan at step 7 {where}; step 5 has the last good"):
        fit(CONFIG, state, train_step, batches_from, directory=tmp_path)


def poisoned(state, *path):
    """The state with one NaN in one parameter."""

    def poison(name, leaf):
        return leaf.at[1, 2].set(jnp.nan) if tuple(key.key for key in name) == path else leaf

    return state.replace(params=jax.tree_util.tree_map_with_path(poison, state.params))


def test_parameters_that_are_not_finite_at_the_start_are_named(toy, tmp_path):
    state, train_step = toy.make(OPTIMIZER, seed=CONFIG.seed)
    state = poisoned(state, "embed", "embedding")
    with pytest.raises(UserError, match=r"training: embed\.embedding is not finite before step 1; start from other"):
        fit(CONFIG, state, train_step, toy.batches_from, directory=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("step", "told"),
    [
        # Seen with the metrics of its own step, in parameters that no later step has ruined.
        (6, r"dense\.kernel is not finite after step 6, whose loss and gradients are; step 5 has"),
        (10, r"dense\.kernel is not finite after step 10, whose loss and gradients are; step 5 has"),
        # Seen two steps later.
        (7, r"loss is nan at step 8 \(all parameters were finite at step 6; the first bad gradient .*; step 5 has"),
    ],
)
def test_a_parameter_that_an_update_ruins_is_named_as_long_as_it_is_the_only_one(toy, tmp_path, step, told):
    state, healthy = toy.make(OPTIMIZER, seed=CONFIG.seed)

    def train_step(state, batch):
        state, metrics = healthy(state, batch)
        return (poisoned(state, "dense", "kernel") if state.step == step else state), metrics

    with pytest.raises(UserError, match=f"training: {told} the last good checkpoint"):
        fit(CONFIG, state, train_step, toy.batches_from, directory=tmp_path)


def test_the_trees_of_other_runs_are_refused(toy, tmp_path):
    config = FitConfig(steps=2, seed=1)
    run(toy, tmp_path, config=config)
    with pytest.raises(UserError, match="made with seed 1, the configuration says 2"):
        run(toy, tmp_path, config=FitConfig(steps=4, seed=2))
    with pytest.raises(UserError, match=r"holds float32.* at best_params.*expects nothing"):
        run(toy, tmp_path, config=FitConfig(steps=4, seed=1), monitor=None)


def test_mistakes_are_named(toy, tmp_path):
    with pytest.raises(UserError, match=r"monitor is 'pass'.*gives size"):
        run(toy, tmp_path / "a", monitor="pass")
    with pytest.raises(UserError, match="nothing evaluates"):
        run(toy, tmp_path / "b", evaluate=None)
    with pytest.raises(UserError, match="batches end before step 3 of 12"):
        run(toy, tmp_path / "c", batches_from=lambda start: iter([toy.batch_at(0), toy.batch_at(1)]))
    with pytest.raises(UserError, match=r"FitConfig\.log_every is 0"):
        FitConfig(log_every=0)


def test_batches_are_placed_and_the_checkpoint_moves_between_meshes(toy, tmp_path):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:4])
    spread = jax.sharding.NamedSharding(mesh, jax.P("data"))
    everywhere = jax.sharding.NamedSharding(mesh, jax.P())

    def on_mesh(config):
        state, train_step = toy.make(OPTIMIZER, seed=1)
        state = jax.device_put(state, everywhere)
        place = lambda batch: jax.device_put(batch, spread)  # noqa: E731
        return fit(config, state, train_step, toy.batches_from, directory=tmp_path, place=place)

    half = on_mesh(FitConfig(steps=6, seed=1))
    assert half.state.params["dense"]["kernel"].sharding.device_set == set(jax.devices()[:4])
    moved = run(toy, tmp_path, config=FitConfig(steps=12, seed=1), evaluate=None, monitor=None)
    alone = run(toy, tmp_path / "alone", config=FitConfig(steps=12, seed=1), evaluate=None, monitor=None)
    # Sums over devices round otherwise than sums on one; Adam keeps the difference near float32's epsilon.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), moved.state.params, alone.state.params
    )
