"""Labelled programs through TFDS, seqio, packing and export, in one process with Apache Beam."""

import collections
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from prm_jax.errors import UserError
from prm_jax.labelling.jsonl import write_labelled
from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.problems.problem import Problem
from prm_jax.text.step_map import program_row, prompt_ids, step_end_tokens
from prm_jax.text.steps import split_steps
from prm_jax.text.tokenizer import ByteTokenizer
from prm_jax.training.data import load_meta, load_prompts, load_rows

N, W, R = Label.NEUTRAL, Label.WRONG, Label.RIGHT
TOKENIZER = ByteTokenizer()
LENGTH = 128
SPLITS = ("train", "train", "train", "validation", "test")


def program(index: int, operator: str) -> LabelledProgram:
    """A program whose text names its problem; the lines of a mutant are mostly neutral."""
    split = SPLITS[index % len(SPLITS)]
    text = f"def f{index}(x):\n    # é\n\n    y = x + {index}\n    return y{'  # longer' * (index % 3)}\n"
    right = operator == "reference"
    labels = (R, N, N, R, R, R) if right else (N, N, N, N, W, N)
    ends = tuple(step.end for step in split_steps(text))
    return LabelledProgram(
        problem_id=f"toy/{index}",
        source="toy",
        split=split,
        prompt=f"Add {index}.",
        text=text,
        step_ends=ends,
        labels=labels,
        passed=right,
        operator=operator,
        method="mutation",
        outcome="passed" if right else "wrong_answer",
        edited_step=-1 if right else 4,
        failing_test=-1 if right else 0,
        demonstration=operator == ("drop" if index % 7 == 1 else "reference"),
    )


PROGRAMS = [program(index, operator) for index in range(60) for operator in ("reference", "swap", "drop")]
TOO_LONG = dataclasses.replace(
    program(0, "reference"), problem_id="toy/long", prompt="z" * 200, text="a\n", step_ends=(2, 2), labels=(R, R)
)


@pytest.fixture(scope="module")
def modules():
    """The modules that need TensorFlow, after Beam, in one process."""
    import apache_beam  # noqa: F401
    import seqio
    import tensorflow_datasets  # noqa: F401

    from prm_jax.tasks import builder, export, registry

    return seqio, builder, export, registry


@pytest.fixture(scope="module")
def dataset(modules, tmp_path_factory):
    """Two shards as a registered family `toy`."""
    _, builder, _, registry = modules
    labelled = tmp_path_factory.mktemp("labelled")
    write_labelled(labelled / "labelled-00000-of-00002.jsonl", PROGRAMS[:70])
    write_labelled(labelled / "labelled-00001-of-00002.jsonl", [*PROGRAMS[70:], TOO_LONG])
    directory = builder.build_dataset(labelled, tmp_path_factory.mktemp("tfds"))
    registry.register("toy", directory, TOKENIZER, LENGTH)
    return directory


def expected(split: str, kind: str) -> collections.Counter:
    """What a task has to serve, from the definition: `(ids, labels)` of each program."""
    rows = []
    for one in PROGRAMS:
        if one.split != split or (kind == "sft" and not one.demonstration):
            continue
        ids, start = program_row(one.prompt, one.text, TOKENIZER)
        labels = [1] * len(ids)
        if kind == "sft":
            labels = [int(index >= start) for index in range(len(ids))]
        elif kind == "orm":
            labels[-1] = 3 if one.passed else 2
        else:
            ends = step_end_tokens(ids[start:], TOKENIZER, split_steps(one.text))
            for end, label in zip(ends, one.labels, strict=True):
                labels[start + end] = int(label)
        rows.append((tuple(ids), tuple(labels)))
    return collections.Counter(rows)


def unpacked(rows) -> collections.Counter:
    """The `(ids, labels)` of each segment, after a check of positions and padding."""
    found = []
    for tokens, segments, positions, labels in zip(*rows, strict=True):
        for segment in range(1, segments.max() + 1):
            here = np.flatnonzero(segments == segment)
            assert (np.diff(here) == 1).all()
            assert positions[here].tolist() == list(range(len(here)))
            found.append((tuple(tokens[here].tolist()), tuple(labels[here].tolist())))
        padded = segments == 0
        assert not (tokens[padded].any() or positions[padded].any() or labels[padded].any())
    return collections.Counter(found)


@pytest.mark.parametrize("kind", ["sft", "prm", "orm"])
@pytest.mark.parametrize("pack", [True, False])
def test_export_gives_back_every_program_and_label(modules, dataset, tmp_path, kind, pack):
    meta = modules[2].export_rows(f"toy_{kind}", "train", LENGTH, kind, tmp_path / "rows", pack=pack)
    rows = load_rows(tmp_path / "rows")
    want = expected("train", kind)
    assert unpacked(rows) == want
    assert meta == load_meta(tmp_path / "rows")
    assert meta["programs"] == want.total()
    assert meta["dropped"] == 1
    assert (meta["rows"] == meta["programs"]) == (not pack)
    assert meta["tokens"] == sum(len(ids) * count for (ids, _), count in want.items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows"]


class ZeroIsAWord(ByteTokenizer):
    """Byte ids turned round so that 0 is the letter "r", as 0 is "!" for Qwen."""

    vocab_size, bos_id, eos_id, fingerprint = 258, 256, 257, "zero"

    def encode(self, text):
        return [(byte - ord("r")) % 256 for byte in text.encode()]

    def token_bytes(self, token_id):
        return bytes([(token_id + ord("r")) % 256]) if token_id < 256 else b""


def test_a_token_may_be_zero(modules, dataset, tmp_path):
    tokenizer = ZeroIsAWord()
    modules[3].register("zero", dataset, tokenizer, LENGTH)
    modules[2].export_rows("zero_sft", "train", LENGTH, "sft", tmp_path / "rows", pack=True)
    programs = [one for one in PROGRAMS if one.split == "train" and one.operator == "reference"]
    want = collections.Counter(tuple(program_row(one.prompt, one.text, tokenizer)[0]) for one in programs)
    assert any(0 in ids for ids in want)
    assert collections.Counter(ids for ids, _ in unpacked(load_rows(tmp_path / "rows")).elements()) == want
    problems = [Problem("zero/0", "toy", "train", "error", "f", "", ())]
    modules[2].export_prompts(problems, tokenizer, tmp_path / "prompts", 16)
    rows = load_prompts(tmp_path / "prompts")
    assert rows.tokens[0, : rows.lengths[0]].tolist() == prompt_ids("error", tokenizer)


def test_many_short_neutral_programs_share_rows_and_keep_their_labels(modules, dataset, tmp_path):
    modules[2].export_rows("toy_prm", "validation", 1024, "prm", tmp_path / "rows")
    rows = load_rows(tmp_path / "rows")
    assert rows.segments.max() > 8
    assert unpacked(rows) == expected("validation", "prm")


def test_no_program_of_a_test_problem_is_in_training(modules, dataset, tmp_path):
    def problems(split):
        modules[2].export_rows("toy_prm", split, LENGTH, "prm", tmp_path / split)
        text = TOKENIZER.decode(load_rows(tmp_path / split).tokens.ravel().tolist())
        return {one.problem_id for one in PROGRAMS if f"Add {one.problem_id[4:]}.\n" in text}

    found = {split: problems(split) for split in ("train", "validation", "test")}
    assert {split: len(ids) for split, ids in found.items()} == {"train": 36, "validation": 12, "test": 12}
    assert found["test"].isdisjoint(found["train"] | found["validation"])


def test_seqio_serves_the_tasks_whole(modules, dataset):
    import tensorflow as tf

    seqio = modules[0]
    task = seqio.get_mixture_or_task("toy_prm")
    rows = list(task.get_dataset(split="test", shuffle=False).as_numpy_iterator())
    assert collections.Counter((tuple(r["targets"]), tuple(r["labels"])) for r in rows) == expected("test", "prm")
    short = task.get_dataset({"targets": 75, "labels": 75}, split="test", shuffle=False)
    kept = {tuple(r["targets"]) for r in short.as_numpy_iterator()}
    assert kept == {ids for ids, _ in expected("test", "prm") if len(ids) <= 75}
    assert 0 < len(kept) < 12
    vocabulary = task.output_features["targets"].vocabulary
    mapped = tf.data.Dataset.from_tensor_slices(["é\n"]).map(vocabulary.encode_tf)
    assert next(mapped.as_numpy_iterator()).tolist() == vocabulary.encode("é\n")
    assert vocabulary.encode_tf("é\n").numpy().tolist() == vocabulary.encode("é\n")
    assert vocabulary.decode_tf(np.array(vocabulary.encode("é\n"))).numpy().decode() == "é\n"


def test_a_mixture_holds_every_program_of_its_families_once(modules, dataset, tmp_path):
    _, _, export, registry = modules
    registry.register("toy_two", dataset, TOKENIZER, LENGTH)
    registry.register_mixtures("both", ["toy", "toy_two"])
    export.export_rows("both_prm", "test", LENGTH, "prm", tmp_path / "rows")
    want = expected("test", "prm")
    assert unpacked(load_rows(tmp_path / "rows")) == want + want


def test_a_mixture_is_exported_in_the_same_order_every_time(modules, dataset, tmp_path):
    _, _, export, registry = modules
    registry.register("toy_two", dataset, TOKENIZER, LENGTH)
    registry.register_mixtures("both", ["toy", "toy_two"])
    for name in ("one", "two"):
        export.export_rows("both_prm", "train", LENGTH, "prm", tmp_path / name)
    assert np.array_equal(load_rows(tmp_path / "one").tokens, load_rows(tmp_path / "two").tokens)


def test_the_corpus_is_served_line_by_line(modules, tmp_path):
    from prm_jax.tasks.corpus import register_corpus

    seqio, _, export, _ = modules
    rows = [
        {"id": f"corpus/toy/{i}", "prompt": f"Add {i}.\n\ndef f(x):", "text": text, "provenance": "toy"}
        for i, text in enumerate(["def f(x):\n    # é\n    return x\n", "x" * 200 + "\n", "def f(x): return 2\n"])
    ]
    (tmp_path / "corpus-train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "corpus-test.jsonl").write_text("")
    assert register_corpus("toy", tmp_path, TOKENIZER, LENGTH) == "toy_corpus_sft"
    task = seqio.get_mixture_or_task("toy_corpus_sft")
    assert list(task.splits) == ["train"]
    meta = export.export_rows("toy_corpus_sft", "train", LENGTH, "sft", tmp_path / "rows")
    want = collections.Counter()
    for row in (rows[0], rows[2]):
        ids, start = program_row(row["prompt"], row["text"], TOKENIZER)
        want[tuple(ids), tuple(int(index >= start) for index in range(len(ids)))] += 1
    assert unpacked(load_rows(tmp_path / "rows")) == want and meta["dropped"] == 1
    with pytest.raises(UserError, match="no corpus in"):
        register_corpus("toy", tmp_path / "none", TOKENIZER, LENGTH)


def test_prompts(modules, tmp_path):
    prompts = ["Add up.", "p" * 60, "Multiply."]
    problems = [Problem(f"toy/{i}", "toy", "train", prompt, "f", "", ()) for i, prompt in enumerate(prompts)]
    meta = modules[2].export_prompts(problems, TOKENIZER, tmp_path / "prompts", 32)
    rows = load_prompts(tmp_path / "prompts")
    assert rows.problem.tolist() == [0, 2]
    assert rows.tokens.shape == (2, 32)
    for tokens, length, index in zip(*rows, strict=True):
        assert tokens[:length].tolist() == prompt_ids(prompts[index], TOKENIZER)
        assert not tokens[length:].any()
    assert meta["dropped"] == 1
    with pytest.raises(UserError, match="raise max_prompt"):
        modules[2].export_prompts(problems, TOKENIZER, tmp_path / "none", 3)
    assert not (tmp_path / "none").exists()


def test_mistakes_are_named(modules, dataset, tmp_path):
    _, builder, export, registry = modules
    with pytest.raises(UserError, match="run the stage `label`"):
        builder.build_dataset(tmp_path, tmp_path / "tfds")
    moved = dataclasses.replace(PROGRAMS[0], split="test")
    write_labelled(tmp_path / "labelled-00000-of-00001.jsonl", [PROGRAMS[0], moved])
    with pytest.raises(UserError, match="toy/0 is in split 'test' and 'train'"):
        builder.build_dataset(tmp_path, tmp_path / "tfds")
    with pytest.raises(UserError, match="no TFDS dataset"):
        registry.register("none", tmp_path / "none", TOKENIZER, LENGTH)
    with pytest.raises(UserError, match="no seqio task"):
        export.export_rows("nothing_prm", "train", LENGTH, "prm", tmp_path / "out")
    with pytest.raises(UserError, match="no split 'prompt'"):
        export.export_rows("toy_prm", "prompt", LENGTH, "prm", tmp_path / "out")
    with pytest.raises(UserError, match="at most 5 tokens"):
        export.export_rows("toy_prm", "train", 5, "prm", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_rebuilt_dataset_takes_the_place_of_the_one_before(modules, tmp_path):
    _, builder, export, registry = modules
    for programs in (PROGRAMS[:3], PROGRAMS[3:9]):
        write_labelled(tmp_path / "labelled-00000-of-00001.jsonl", programs)
        registry.register("again", builder.build_dataset(tmp_path, tmp_path / "tfds"), TOKENIZER, LENGTH)
        assert export.export_rows("again_prm", "train", LENGTH, "prm", tmp_path / "rows")["programs"] == len(programs)


def test_the_learners_side_imports_no_tensorflow():
    code = "import sys, prm_jax.training.data; print([m for m in ('tensorflow', 'seqio', 'jax') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []
