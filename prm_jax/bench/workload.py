"""What `prm_jax bench sampling` asks every engine for: a checkpoint and MBPP in, prompts, weights and a rule out.

Each engine gets the same weights in float32 (ours as parameters, the others as a Hugging Face folder of them), the same
prompts and the same rule, and what it writes is counted by the same function. `sampling.py` and `rivals.py` call this.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

import jax
from etils import epath

from prm_jax.bench.arguments import require_positive
from prm_jax.models.checkpoint_load import load_policy, open_checkpoint
from prm_jax.models.checkpoint_save import save_policy
from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import init_policy
from prm_jax.parallel.mesh import MeshConfig, make_mesh
from prm_jax.problems.mbpp import MbppSource
from prm_jax.problems.problem import Problem
from prm_jax.problems.synthetic import SyntheticSource
from prm_jax.sampling.rules import SamplingConfig
from prm_jax.sampling.stops import LEAVES_FUNCTION, before_stop
from prm_jax.text.gguf_tokenizer import build
from prm_jax.text.pretrained import PretrainedTokenizer, special_ids, write_files
from prm_jax.text.tokenizer import BpeTokenizer

TEMPERATURE = 0.8

_TINY = ModelConfig(width=64, layers=2, heads=2, kv_heads=1, mlp_width=128, context=4096)
_TINY_VOCABULARY = 512


@dataclasses.dataclass(frozen=True)
class Workload:
    """Prompts to complete, and with what.

    Attributes:
      prompts: ids; a problem as a docstring and the head of its function, see `prompt_text`.
      samples: completions to each.
      rule: temperature, length and stop sequences.
      params: the policy.
      model: its shape.
      tokenizer: its tokenizer.
    """

    prompts: tuple[tuple[int, ...], ...]
    samples: int
    rule: SamplingConfig
    params: Any
    model: ModelConfig
    tokenizer: BpeTokenizer | PretrainedTokenizer

    def requests(self) -> list[tuple[int, ...]]:
        """Each prompt `samples` times, the shortest first: batches of like lengths need the least padding."""
        return [prompt for prompt in sorted(self.prompts, key=len) for _ in range(self.samples)]

    def useful(self, completions: Iterable[Sequence[int]]) -> int:
        """How many tokens of the completions begin before a stop sequence or `eos`."""
        return sum(map(self._useful, completions))

    def _useful(self, ids: Sequence[int]) -> int:
        ids = list(itertools.takewhile(lambda token: token != self.tokenizer.eos_id, ids))
        kept = len(before_stop(self.tokenizer.decode(ids), self.rule.stop).encode())
        ends = itertools.accumulate((len(self.tokenizer.token_bytes(token)) for token in ids), initial=0)
        return sum(begin < kept for begin in itertools.islice(ends, len(ids)))

    def save(self, folder: epath.PathLike) -> None:
        """Writes weights and tokenizer as `transformers` and Tunix load them."""
        ids = {f"{name}_token_id": token_id for name, token_id in special_ids(self.tokenizer).items()}
        save_policy(folder, self.params, self.model, special_ids=ids, generation={})
        write_files(self.tokenizer, folder)


def make_workload(checkpoint: str | None, mbpp: str | None, prompts: int, samples: int, new_tokens: int) -> Workload:
    """MBPP's test problems for a checkpoint; where one of the two is missing, a tiny random model and made-up problems.

    Raises:
      UserError: a number is not positive, or a file cannot be read.
    """
    require_positive(prompts=prompts, samples=samples, new_tokens=new_tokens)
    rule = SamplingConfig(temperature=TEMPERATURE, max_new_tokens=new_tokens, stop=LEAVES_FUNCTION)
    tokenizer: BpeTokenizer | PretrainedTokenizer
    if checkpoint and mbpp:
        problems = MbppSource(mbpp, ("test",)).load()[:prompts]
        params, model, tokenizer = _pretrained(checkpoint)
    else:
        problems = SyntheticSource(count=prompts).load()
        tokenizer = BpeTokenizer.train([problem.prompt for problem in problems], _TINY_VOCABULARY)
        model = dataclasses.replace(_TINY, vocab_size=tokenizer.vocab_size)
        params = init_policy(model, jax.random.key(0))
    texts = map(prompt_text, problems)
    return Workload(tuple(tuple(tokenizer.encode(text)) for text in texts), samples, rule, params, model, tokenizer)


def prompt_text(problem: Problem) -> str:
    """A problem as a docstring, and the head of the function that is to follow.

    No newline stands behind the head: with one, engines that look for stop sequences in prompt and completion together
    would take the function itself for one that begins behind the first.
    """
    head = re.search(rf"^def {re.escape(problem.entry_point)} *\(.*", problem.reference, re.MULTILINE)
    return f'"""\n{problem.prompt}\n"""\n' + (head[0].rstrip() if head else f"def {problem.entry_point}(")


def _pretrained(path: str) -> tuple[Any, ModelConfig, PretrainedTokenizer]:
    checkpoint = open_checkpoint(path)
    model = checkpoint.config
    if checkpoint.metadata is None:
        tokenizer = PretrainedTokenizer.from_folder(path, model.vocab_size)
    else:
        tokenizer = build(checkpoint.metadata, model.vocab_size, path)
    return load_policy(checkpoint, model, make_mesh(MeshConfig(), jax.devices()[:1])), model, tokenizer
