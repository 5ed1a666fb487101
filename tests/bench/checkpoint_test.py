"""`prm_jax bench checkpoint`: it measures a training that saves, and leaves nothing behind."""

from prm_jax import cli
from prm_jax.bench import checkpoint as bench


def test_what_is_measured_is_told_and_nothing_is_left(capsys, tmp_path):
    found = bench.run(width=16, layers=1, saves=2, every=2, folder=str(tmp_path))
    told = capsys.readouterr().out
    assert f"{found.stopped / found.step:.2f} steps" in told and "MB" in told
    # Parameters, two moments of each and a few counters.
    weights = 1024 * 16 + 4 * 16 * 16 + 3 * 16 * 64 + 3 * 16
    assert abs(found.megabytes - 12 * weights / 1e6) < 1e-3
    assert 0 < found.calls <= found.stopped + 2 * found.step * 2 and found.whole > 0
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_makes_no_sense(capsys):
    assert cli.main(["bench", "checkpoint", "--width=0"]) == 2
    assert "--width=0" in capsys.readouterr().err
