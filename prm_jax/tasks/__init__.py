"""Labelled programs to numpy batches: TFDS, seqio tasks, packing, export. The only room that imports TensorFlow."""

import os
import sys


def _import_tensorflow_quietly() -> None:
    """Imports TensorFlow before any module of this room does, without its lines about missing CUDA libraries.

    They are written to the process's standard error before TensorFlow reads its own log level, hence the detour.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import absl.logging
        import tensorflow as tf

        # seqio warns of every task that is not cached on disk; ours are small and read once.
        absl.logging.set_verbosity(absl.logging.ERROR)
        # The accelerator is JAX's; TensorFlow would take all of its memory.
        tf.config.set_visible_devices([], "GPU")
    finally:
        os.dup2(kept, 2)
        os.close(kept)


_import_tensorflow_quietly()
