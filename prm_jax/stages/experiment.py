"""`Experiment`: everything that a gin file decides, as one tree of frozen dataclasses.

`cli.py` builds it; every stage takes it, reads its own part and hands that part down. Nothing below the stages
knows it.
"""

from __future__ import annotations

import dataclasses

from prm_jax.errors import UserError
from prm_jax.evaluation.samples import EvaluationConfig
from prm_jax.execution.sandbox import SandboxConfig
from prm_jax.guided.config import METHODS, GuidedConfig
from prm_jax.labelling.label import LabelConfig
from prm_jax.labelling.prefix_search import PrefixSearchConfig
from prm_jax.mining.config import MiningConfig
from prm_jax.models.config import ModelConfig
from prm_jax.parallel.mesh import MeshConfig
from prm_jax.ppo.arms import Arm
from prm_jax.ppo.config import PpoConfig
from prm_jax.problems.sources import Source
from prm_jax.sampling.rules import SamplingConfig
from prm_jax.text.chat import ChatConfig
from prm_jax.training.loop import FitConfig
from prm_jax.training.optimizer import OptimizerConfig


def guided_name(method: str) -> str:
    """What the SFT policy is called when it is guided."""
    return f"sft_{method}"


TAKEN = ("sft", "prm", "base", "base_few_shot", *map(guided_name, METHODS))
"""The rows of the result table and folders of `evaluate/` that are no arms."""


@dataclasses.dataclass(frozen=True)
class ProblemSets:
    """Which problems serve which end. A problem of `validation` or `evaluation` never reaches training.

    Attributes:
      demonstrations: their demonstrations, or references where they have none, are what SFT imitates: a fixed,
        limited set.
      practice: RL's prompts; the demonstrations' problems where it is empty.
      labelled: their references are mutated and refactored: what the reward models are trained on; the practice where
        it is empty.
      validation: chooses checkpoints and draws learning curves.
      few_shot: the problems of `evaluation` once more, with solved examples in their prompts: how the published
        checkpoint that a run starts from is asked a second time, since nobody has taught it the form of the answer.
      evaluation: the held-out problems of the result table.
    """

    demonstrations: tuple[Source, ...] = ()
    practice: tuple[Source, ...] = ()
    labelled: tuple[Source, ...] = ()
    validation: tuple[Source, ...] = ()
    few_shot: tuple[Source, ...] = ()
    evaluation: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, tuple(getattr(self, field.name)))


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """Tokens.

    Attributes:
      vocabulary_size: size of the byte-level BPE trained on the demonstrations.
      pieces: what may become one token: `"words"`, or `"phrases"` for a narrow domain.
      max_length: tokens of a row: prompt, program and the two special tokens; longer programs are left out.
      max_prompt: tokens of an RL prompt; problems with longer ones are left out.
    """

    vocabulary_size: int = 512
    pieces: str = "words"
    max_length: int = 256
    max_prompt: int = 128


@dataclasses.dataclass(frozen=True)
class PretrainedConfig:
    """A published checkpoint that the policy starts from, in place of random parameters.

    Attributes:
      path: a Hugging Face folder (Llama, SmolLM2, Qwen2, Qwen2.5, Qwen3) or a GGUF file of these; empty for none. It
        then decides the tokenizer and the model's shape; of `Experiment.model` only the fields are read that say how it
        is computed and trained (`COMPUTED_AS` of `stages/pretrained.py`), of `TextConfig` the two lengths.
      chat: whether and how the checkpoint's chat template writes the prompts.
    """

    path: str = ""
    chat: ChatConfig = ChatConfig()


@dataclasses.dataclass(frozen=True)
class LearningConfig:
    """How one network is trained on the exported rows.

    Attributes:
      fit: length, evaluation and early stopping.
      optimizer: AdamW and its schedule.
      batch_size: packed rows of `TextConfig.max_length` tokens to a step.
      validation_samples: programs of each validation problem by which a checkpoint of SFT is chosen. Reward models
        write none.
    """

    fit: FitConfig = FitConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    batch_size: int = 32
    validation_samples: int = 1

    def lasting(self, steps: int) -> LearningConfig:
        """The same for another number of steps; the schedule of the learning rate ends with them."""
        warmup = min(self.optimizer.warmup_steps, steps)
        optimizer = dataclasses.replace(self.optimizer, total_steps=steps, warmup_steps=warmup)
        return dataclasses.replace(self, fit=dataclasses.replace(self.fit, steps=steps), optimizer=optimizer)


@dataclasses.dataclass(frozen=True)
class PolicySamplesConfig:
    """The policy's own programs that a PRM is trained on, labelled by the interpreter.

    Attributes:
      problems: number of practice problems to sample for; 0 leaves such programs out.
      samples_per_problem: programs to each.
      policies: who writes them, each for its share of the problems: `"sft"`, and `"ppo/<arm>"` where that arm has been
        trained in the run directory before (Dai et al. collect labels along an outcome-only run).
      search: labels them by prefix search in place of the trace, where it has completions.
    """

    problems: int = 0
    samples_per_problem: int = 4
    policies: tuple[str, ...] = ("sft",)
    search: PrefixSearchConfig = PrefixSearchConfig()

    def __post_init__(self) -> None:
        object.__setattr__(self, "policies", tuple(self.policies))
        if not self.policies:
            raise UserError("PolicySamplesConfig.policies is empty; expected 'sft' or 'ppo/<arm>', or problems = 0")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One experiment. See `gin/quickstart.gin` for a complete one.

    Attributes:
      name: what its tasks and, unless told otherwise, its run directory are called.
      mixed_with: run directories with a finished `label`, whose labelled programs the reward models learn from as well.
      prm_without: operators whose programs the PRM is not trained on; it is judged on them all the same.
      arms: of different names, none of them in `TAKEN`. The rest are the parts that stages read, each documented in its
        own class.
    """

    name: str
    problems: ProblemSets
    seed: int = 0
    text: TextConfig = TextConfig()
    sandbox: SandboxConfig = SandboxConfig()
    mining: MiningConfig = MiningConfig()
    labels: LabelConfig = LabelConfig()
    mixed_with: tuple[str, ...] = ()
    model: ModelConfig = ModelConfig()
    pretrained: PretrainedConfig = PretrainedConfig()
    mesh: MeshConfig = MeshConfig()
    sampling: SamplingConfig = SamplingConfig()
    guided: GuidedConfig = GuidedConfig()
    sft: LearningConfig = LearningConfig()
    prm: LearningConfig = LearningConfig()
    prm_samples: PolicySamplesConfig = PolicySamplesConfig()
    prm_without: tuple[str, ...] = ()
    orm: LearningConfig = LearningConfig()
    ppo: PpoConfig = PpoConfig()
    arms: tuple[Arm, ...] = ()
    evaluation: EvaluationConfig = EvaluationConfig()

    def __post_init__(self) -> None:
        object.__setattr__(self, "mixed_with", tuple(self.mixed_with))
        object.__setattr__(self, "arms", tuple(self.arms))
        object.__setattr__(self, "prm_without", tuple(self.prm_without))
        if self.seed < 0:
            raise UserError(f"Experiment.seed is {self.seed}; give 0 or more")
        names = [arm.name for arm in self.arms]
        for name in names:
            if name in TAKEN:
                raise UserError(f"an arm is called {name!r}, as is another part of a run: give Arm.name another value")
            if names.count(name) > 1:
                raise UserError(f"{names.count(name)} arms are called {name!r}: give each an Arm.name of its own")
