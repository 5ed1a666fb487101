"""The corpus: which functions with docstrings are in it, and the files that hold it."""

import ast
import collections
import json
import textwrap

from prm_jax.mining.config import MiningConfig
from prm_jax.mining.corpus import corpus_of, corpus_path, write_corpus
from prm_jax.mining.isolate import Module
from prm_jax.mining.walk import SourceFile

SOURCE = (
    '''
import numpy

def scaled(values, by=2):
    """Multiply every value.

    >>> scaled([1])
    [2]

    Nothing is changed.
    """
    # All of them.
    found = numpy.array(values) * by
    return found

class Box:
    def method(self):
        """A method of a class."""
        x = 1
        return x

def plain(x):
    y = x
    return y

def terse(x):
    """Terse."""
    y = x
    return y

def short(x):
    """This has one statement."""
    return x

def long(x):
    """This has many statements."""
'''
    + "    x += 1\n" * 70
)


def corpus(tmp_path, source: str = SOURCE):
    path = tmp_path / "mod.py"
    path.write_text(source)
    dropped = collections.Counter()
    module = Module(SourceFile(str(tmp_path), str(path)), ast.parse(source))
    return corpus_of(module, source, MiningConfig(), dropped), dropped


def test_a_function_is_its_words_and_its_code_without_its_examples(tmp_path):
    (problem,), _ = corpus(tmp_path)
    assert problem.prompt == "Multiply every value.\nNothing is changed.\ndef scaled(values, by=2):"
    assert problem.reference == textwrap.dedent("""\
        def scaled(values, by=2):
            # All of them.
            found = numpy.array(values) * by
            return found
        """)
    assert (problem.id, problem.tests, problem.setup) == (f"corpus/{tmp_path.name}/mod.scaled", (), "")


def test_what_is_left_out_is_counted(tmp_path):
    _, dropped = corpus(tmp_path)
    assert dropped == {"says too little": 1, "too short a function": 1, "too long a function": 1}


def test_the_files_hold_each_function_in_its_split(tmp_path):
    problems, _ = corpus(tmp_path)
    write_corpus(tmp_path, problems)
    rows = {split: corpus_path(tmp_path, split).read_text() for split in ("train", "validation", "test")}
    row = json.loads(rows.pop(problems[0].split))
    assert set(rows.values()) == {""}
    assert row["text"] == problems[0].reference and row["prompt"] == problems[0].prompt
    assert row["provenance"].endswith("mod.py:4")
