"""What the SFT policy writes for practice problems: what decoding needs is told before it begins."""

import dataclasses
from collections.abc import Callable

import pytest

from prm_jax.errors import UserError
from prm_jax.stages import attempts
from prm_jax.stages.experiment import Experiment, ProblemSets


@dataclasses.dataclass(frozen=True)
class TooLarge:
    """Stands for a `Writer` whose decoding does not fit."""

    model: None = None
    progress: Callable[[int], None] | None = None
    say: Callable[[str], None] | None = None

    def completions(self, *_):
        assert self.say is not None
        self.say("decoding 2 programs: 9.00 GiB")
        raise UserError("decoding 2 programs needs 9.00 GiB")


def test_what_decoding_needs_is_told(tmp_path, monkeypatch, capsys):
    for name, value in (("load_tokenizer", None), ("writer_of", TooLarge()), ("load_policy", None)):
        monkeypatch.setattr(attempts, name, lambda *_, value=value: value)
    with pytest.raises(UserError, match="needs 9.00 GiB"):
        attempts.attempts(Experiment("toy", ProblemSets()), None, [], 2, tmp_path, "screening")
    assert "screening: decoding 2 programs: 9.00 GiB" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
