"""Our tokenizer as seqio sees it: a `Tokenizer` in, a `seqio.Vocabulary` out. `registry.py` uses it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import seqio
import tensorflow as tf

from prm_jax.text.tokenizer import Tokenizer


class TokenizerVocabulary(seqio.Vocabulary):
    """Wraps a tokenizer; two are equal where the tokenizers' fingerprints are."""

    def __init__(self, tokenizer: Tokenizer):
        """Takes any `text.tokenizer.Tokenizer`."""
        super().__init__()
        self.tokenizer = tokenizer

    @property
    def bos_id(self) -> int:
        """The id before a prompt."""
        return self.tokenizer.bos_id

    @property
    def eos_id(self) -> int:
        """The id that ends a program."""
        return self.tokenizer.eos_id

    @property
    def unk_id(self) -> None:
        """Byte-level tokenizers know every text."""

    @property
    def _base_vocab_size(self) -> int:
        return self.tokenizer.vocab_size

    def _encode(self, s: str) -> Sequence[int]:
        return self.tokenizer.encode(s)

    def _decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(int(i) for i in ids)

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
        def encode(text: bytes | np.ndarray) -> np.ndarray:
            # TensorFlow hands over bytes within a graph and an array of one string outside.
            return np.asarray(self._encode(tf.compat.as_text(np.asarray(text, object).item())), np.int32)

        ids = tf.numpy_function(encode, [s], tf.int32)
        ids.set_shape([None])
        return ids

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        if ids.shape.rank == 2:
            return tf.map_fn(self._decode_tf, ids, fn_output_signature=tf.string)
        text = tf.numpy_function(lambda row: self._decode(row).encode(), [ids], tf.string)
        text.set_shape([])
        return text

    def __eq__(self, other: object) -> bool:
        """Whether both give the same ids."""
        return isinstance(other, TokenizerVocabulary) and other.tokenizer.fingerprint == self.tokenizer.fingerprint

    def __hash__(self) -> int:
        """The fingerprint's."""
        return hash(self.tokenizer.fingerprint)
