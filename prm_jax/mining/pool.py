"""Reads many files at once, in processes of their own.

Comes in: `SourceFile`s. Goes out: a `FileReport` for each, in no order that is promised. Called by `stages/mine.py`,
whose process may hold JAX: the workers are started afresh, never forked. A file that kills its reader costs nothing
but itself.
"""

from __future__ import annotations

import concurrent.futures
import functools
import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool

from prm_jax.mining.config import MiningConfig
from prm_jax.mining.functions import FileReport, read_file
from prm_jax.mining.walk import SourceFile

CHUNK = 32
"""Files that a worker reads at a time."""

Reader = Callable[[SourceFile], FileReport]


def read_files(
    files: Sequence[SourceFile], config: MiningConfig, reader: Reader | None = None
) -> Iterator[tuple[SourceFile, FileReport]]:
    """Each file with what it holds.

    Args:
      files: any files.
      config: says how many workers there are and what a problem needs.
      reader: reads one file in a worker; `read_file` by default.
    """
    reader = reader or functools.partial(read_file, config=config)
    workers = config.workers or len(os.sched_getaffinity(0))
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    lost: list[SourceFile] = []
    pool = _pool(workers)
    try:
        futures = {pool.submit(_read_chunk, reader, chunk): chunk for chunk in chunks}
        for future in concurrent.futures.as_completed(futures):
            chunk = futures.pop(future)
            try:
                reports = future.result()
            except BrokenProcessPool:
                lost += chunk
            else:
                yield from zip(chunk, reports, strict=True)
    finally:
        pool.shutdown(cancel_futures=True)  # Whoever stops early does not wait for the rest.
    if lost:
        yield from _read_singly(lost, reader)


def _read_singly(files: Sequence[SourceFile], reader: Reader) -> Iterator[tuple[SourceFile, FileReport]]:
    """Reads files one by one, to find out which of them it is that kills its reader."""
    pool = _pool(1)
    try:
        for file in files:
            try:
                yield file, pool.submit(reader, file).result()
            except BrokenProcessPool:
                pool.shutdown()
                pool = _pool(1)
                yield file, FileReport(skipped="kills its reader")
    finally:
        pool.shutdown()


def _pool(workers: int) -> concurrent.futures.ProcessPoolExecutor:
    return concurrent.futures.ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare)


def _prepare() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one.
    gc.disable()


def _read_chunk(reader: Reader, chunk: Sequence[SourceFile]) -> list[FileReport]:
    reports = [reader(file) for file in chunk]
    gc.collect()  # Once for many files: the collector would go through every syntax tree many times.
    return reports
