"""`prm_jax bench training` times the steps that the stages take, and counts their products by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import cli
from prm_jax.ahead.flops import matmul_flops
from prm_jax.bench import sampling, torch_step, training
from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import init_policy, policy_logits

TINY = ModelConfig(vocab_size=64, width=16, layers=2, heads=4, kv_heads=2, mlp_width=32)


def test_products_of_a_forward_pass():
    """Of what is traced, attention without the mask counts whole: it is twice what is needed."""
    ids = jnp.zeros((2, 8), jnp.int32)
    params = jax.eval_shape(lambda key: init_policy(TINY, key), jax.random.key(0))
    traced = matmul_flops(jax.make_jaxpr(lambda params: policy_logits(params, TINY, ids, ids, ids))(params).jaxpr)
    masked = 2 * 2 * (2 * 8) * 8 * 16 / 2 * 2  # Two products in two layers for 16 tokens: 8 keys of 16 features, half.
    assert training.forward_flops(TINY, 8) * 16 == traced - masked
    assert training.forward_flops(TINY, 8, logits=False) == training.forward_flops(TINY, 8) - 2 * 63 * 16


@pytest.mark.slow
def test_the_table(monkeypatch, capsys):
    monkeypatch.setattr(training, "SMOLLM2_135M", TINY)
    monkeypatch.setattr(training, "_SIDE", 64)
    monkeypatch.setattr(sampling, "_COPIED", 2**16)
    monkeypatch.setattr(torch_step, "installed", lambda: True)
    rivals = [("transformers", "sft", 2.0), ("transformers", "prm", 4.0)]
    monkeypatch.setattr(torch_step, "measure", lambda model, rows, tokens, steps: iter(rivals))
    found = training.run(rows=2, tokens=8, steps=1)
    told = capsys.readouterr().out
    assert [(each.learner, each.stage) for each in found] == [
        ("prm_jax", "sft"), ("prm_jax", "prm"), ("prm_jax", "ppo"), ("transformers", "sft"), ("transformers", "prm"),
    ]  # fmt: skip
    assert all(each.rate > 0 and each.utilisation > 0 for each in found)
    assert found[3].rate == 8 and found[4].rate == 4
    assert f"prm_jax does {found[0].rate / 8:.2f} times as many" in told and "all else" in told
    assert f"prm_jax does {found[1].rate / 4:.2f} times as many" in told
    assert found[1].flops == found[4].flops < found[0].flops == found[2].flops == found[3].flops


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_transformers_takes_its_steps(dtype):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    found = list(torch_step.measure(dataclasses.replace(TINY, dtype=dtype), 2, 8, 1))
    assert [(learner, stage) for learner, stage, _ in found] == [
        ("transformers", "sft"), ("transformers", "prm"), ("transformers", "ppo"),
    ]  # fmt: skip
    assert all(seconds > 0 for *_, seconds in found)


def test_the_losses_of_torch_are_those_of_a_policy_that_knows_nothing():
    """Of tiny weights every token is about as likely: nothing is clipped, and the divergence is next to none."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    shape = transformers.LlamaConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        initializer_range=1e-4, num_labels=1,
    )  # fmt: skip
    ids = torch.randint(64, (2, 8))
    (policy,), sft = torch_step._sft(shape, ids)
    (scorer,), prm = torch_step._prm(shape, ids)
    (actor, critic), ppo = torch_step._ppo(shape, ids)
    assert sft().item() == pytest.approx(np.log(64), abs=1e-2) and prm().item() == pytest.approx(np.log(2), abs=1e-2)
    ppo().backward()
    for network in (actor, critic):
        assert all(each.grad is not None for each in network.parameters())


def test_what_is_not_installed_is_left_out(monkeypatch, capsys):
    monkeypatch.setattr(training, "SMOLLM2_135M", dataclasses.replace(TINY, layers=1))
    monkeypatch.setattr(training, "_SIDE", 64)
    monkeypatch.setattr(sampling, "_COPIED", 2**16)
    monkeypatch.setattr(training, "_updates", lambda model, rows, tokens: iter(()))
    monkeypatch.setattr(torch_step, "installed", lambda: False)
    assert training.run(rows=1, tokens=4, steps=1) == []
    assert "transformers: left out" in capsys.readouterr().out


def test_the_command_line(capsys):
    assert cli.main(["bench", "training", "--rows=0"]) == 2
    assert "--rows=0" in capsys.readouterr().err


def test_a_process_of_its_own_keeps_freed_memory_from_the_kernel(monkeypatch):
    called = []
    monkeypatch.setattr(cli, "_keep_freed_memory", lambda: called.append(True))
    assert cli.main(["bench", "training", "--rows=0"]) == 2 and not called
    monkeypatch.setattr("sys.argv", ["prm_jax", "bench", "training", "--rows=0"])
    assert cli.main() == 2 and called
