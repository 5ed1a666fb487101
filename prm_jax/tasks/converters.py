"""seqio feature converters: a task's `targets` and `labels` in, the fields of `TokenBatch` out.

`export.py` uses them; so may anyone who feeds a trainer from seqio directly. Nothing is shifted: losses shift.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import seqio
import tensorflow as tf

from prm_jax.batches import OPEN_ROWS, TokenBatch, pack_rows
from prm_jax.tasks.registry import SFT_PREDICTED
from prm_jax.tasks.rows import from_rows

_INT_VECTOR = seqio.FeatureConverter.FeatureSpec(dtype=tf.int32)


class StepLabelConverter(seqio.FeatureConverter):
    """For PRM and ORM: labels stay as they are (`NEUTRAL`, `WRONG`, `RIGHT`; 0 where padded).

    With `pack=True` several programs share a row, in segments 1, 2, …; else each has its own row.
    """

    TASK_FEATURES = {"targets": _INT_VECTOR, "labels": _INT_VECTOR}
    MODEL_FEATURES = dict.fromkeys(TokenBatch._fields, _INT_VECTOR)
    PACKING_FEATURE_DTYPES: Mapping[str, tf.DType] = {}

    def _convert_features(self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]) -> tf.data.Dataset:
        length = task_feature_lengths["targets"]

        def rows() -> Iterator[np.ndarray]:
            return pack_rows(_programs(ds), length, OPEN_ROWS if self.pack else 0)

        converted = from_rows(rows, TokenBatch._fields)

        def finish(row: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            row = {name: tf.ensure_shape(vector, [length]) for name, vector in row.items()}
            return {**row, "labels": self._model_labels(row["labels"])}

        return converted.map(finish, num_parallel_calls=tf.data.AUTOTUNE)

    def _model_labels(self, labels: tf.Tensor) -> tf.Tensor:
        return labels

    def get_model_feature_lengths(self, task_feature_lengths: Mapping[str, int]) -> Mapping[str, int]:
        """Every field of a row is as long as `targets`."""
        return dict.fromkeys(TokenBatch._fields, task_feature_lengths["targets"])


class SftConverter(StepLabelConverter):
    """For SFT: labels become 1 where the token is to be predicted, else 0."""

    def _model_labels(self, labels: tf.Tensor) -> tf.Tensor:
        return tf.cast(labels == SFT_PREDICTED, tf.int32)


CONVERTERS: Mapping[str, type[StepLabelConverter]] = {
    "sft": SftConverter,
    "prm": StepLabelConverter,
    "orm": StepLabelConverter,
}


def _programs(ds: tf.data.Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows of a task as numpy vectors."""
    for batch in ds.padded_batch(256).as_numpy_iterator():
        # A label is never 0, so what is 0 is the batch's padding. A token may be 0 ("!" is for Qwen).
        for tokens, labels, size in zip(
            batch["targets"], batch["labels"], np.count_nonzero(batch["labels"], axis=1), strict=True
        ):
            yield tokens[:size], labels[:size]
