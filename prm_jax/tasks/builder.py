"""The TFDS builder: labelled JSONL shards in, a TFDS dataset with the problems' own splits out.

The stage `label` calls `build_dataset`; `registry.py` reads the directory that it returns. A program goes to the
split of its problem and nowhere else, so no label of a test problem reaches training.
"""

from __future__ import annotations

import collections
import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from prm_jax.errors import UserError
from prm_jax.labelling.jsonl import read_labelled
from prm_jax.labelling.labelled_program import LabelledProgram

SPLITS = ("train", "validation", "test", "prompt")

_FEATURES: Mapping[str, Any] = {
    "problem_id": tfds.features.Text(),
    "source": tfds.features.Text(),
    "split": tfds.features.Text(),
    "prompt": tfds.features.Text(),
    "text": tfds.features.Text(),
    "step_ends": tfds.features.Tensor(shape=(None,), dtype=np.int32),
    "labels": tfds.features.Tensor(shape=(None,), dtype=np.int32),
    "passed": tfds.features.Scalar(np.bool_),
    "operator": tfds.features.Text(),
    "method": tfds.features.Text(),
    "outcome": tfds.features.Text(),
    "edited_step": tfds.features.Scalar(np.int32),
    "failing_test": tfds.features.Scalar(np.int32),
    "by_generated": tfds.features.Scalar(np.bool_),
    "demonstration": tfds.features.Scalar(np.bool_),
}


class PrmCode(tfds.core.GeneratorBasedBuilder):
    """Programs with a label on each step; the features are the fields of `LabelledProgram`."""

    VERSION = tfds.core.Version("1.0.0")

    # Nothing is downloaded, so there are no checksums. Without this line TFDS 4.9.10 looks for their file with
    # `importlib_resources`, a package that it does not declare.
    url_infos: Mapping[str, Any] = {}

    def __init__(self, *, labelled_dir: epath.PathLike, **kwargs: Any):
        """Takes the directory of the shards `labelled-*.jsonl`; the rest goes to TFDS."""
        self._labelled_dir = epath.Path(labelled_dir)
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Programs with a label on each step, judged by compiler and interpreter.",
            features=tfds.features.FeaturesDict(dict(_FEATURES)),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        del dl_manager  # Nothing is downloaded here.
        split_of: dict[str, str] = {}
        counts: collections.Counter[str] = collections.Counter()
        for program in self._programs():
            split = split_of.setdefault(program.problem_id, program.split)
            if split != program.split or split not in SPLITS:
                raise UserError(
                    f"{self._labelled_dir}: problem {program.problem_id} is in split {program.split!r} and {split!r}; "
                    f"a problem belongs to one of {', '.join(SPLITS)}; label it again"
                )
            counts[split] += 1
        if not counts:
            raise UserError(f"{self._labelled_dir}: the shards labelled-*.jsonl hold no program; run the stage `label`")
        return {split: self._generate_examples(split) for split in SPLITS if counts[split]}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, program in enumerate(self._programs()):
            if program.split == split:
                row = {name: getattr(program, name) for name in _FEATURES}
                row["labels"] = [int(label) for label in program.labels]
                yield index, row

    def _programs(self) -> Iterator[LabelledProgram]:
        shards = sorted(self._labelled_dir.glob("labelled-*.jsonl"))
        if not shards:
            raise UserError(f"no shard labelled-*.jsonl in {self._labelled_dir}; run the stage `label` first")
        for shard in shards:
            yield from read_labelled(shard)


def build_dataset(labelled_dir: epath.PathLike, data_dir: epath.PathLike) -> epath.Path:
    """Writes the TFDS dataset of all shards in a directory, in place of the one that was there.

    Args:
      labelled_dir: holds `labelled-*.jsonl`, as the stage `label` wrote them.
      data_dir: TFDS's data directory; the dataset becomes `<data_dir>/prm_code/1.0.0`.

    Returns:
      The dataset's directory.

    Raises:
      UserError: where there are no shards, no programs, or one problem in two splits.
    """
    tfds.disable_progress_bar()
    builder = PrmCode(labelled_dir=labelled_dir, data_dir=str(data_dir))
    config = tfds.download.DownloadConfig(download_mode=tfds.GenerateMode.REUSE_CACHE_IF_EXISTS, try_download_gcs=False)
    # TFDS prints to standard output, which is the command line's.
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(download_dir=str(epath.Path(data_dir) / "downloads"), download_config=config)
    return epath.Path(builder.data_dir)
