import numpy as np
import pytest

from prm_jax.sampling.stops import LEAVES_FUNCTION, StopWatch, before_stop
from prm_jax.text.tokenizer import BpeTokenizer

PROGRAM = "    return a + b\n\n\ndef other():\n    pass\n"
# Each cut of the same text into tokens is one more place for the stop sequence to lie across.
CUTS = [
    [PROGRAM],
    list(PROGRAM),
    PROGRAM.partition("\nd"),
    [PROGRAM[:14], PROGRAM[14:17], PROGRAM[17:22], PROGRAM[22:]],
]


def _follow(pieces, chunk, stops=("\ndef ",), rows=1, row=0):
    """Feeds pieces in chunks of so many; how many it took, or None."""
    watch = StopWatch(stops, lambda token: pieces[token].encode(), rows)
    for start in range(0, len(pieces), chunk):
        tokens = np.arange(start, min(start + chunk, len(pieces)))
        if (count := watch.tokens_to_stop(row, tokens)) is not None:
            return start + count
    return None


@pytest.mark.parametrize("pieces", CUTS)
@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_a_stop_is_found_whatever_tokens_and_chunks_it_spans(pieces, chunk):
    count = _follow(pieces, chunk)
    assert "\ndef " in "".join(pieces[:count]) and "\ndef " not in "".join(pieces[: count - 1])
    assert before_stop("".join(pieces[:count]), ("\ndef ",)) == "    return a + b\n\n"


def test_what_is_no_stop_goes_on():
    assert _follow(list("def f():\n    pass\ndefine = 1\n"), 4) is None
    assert before_stop("def f():\n    pass\n", LEAVES_FUNCTION) == "def f():\n    pass\n"


def test_the_first_of_several_stops_counts():
    pieces = list("x\nprint(1)\ndef f")
    assert _follow(pieces, 100, ("\ndef ", "\nprint")) == _follow(pieces, 2, ("\ndef ", "\nprint")) == 7
    assert before_stop("".join(pieces), ("\ndef ", "\nprint")) == "x"


def test_rows_are_followed_apart():
    watch = StopWatch(("\nprint",), lambda token: {0: b"\npr", 1: b"int"}[token], 2)
    assert watch.tokens_to_stop(0, np.array([0])) is None
    assert watch.tokens_to_stop(1, np.array([1])) is None
    assert watch.tokens_to_stop(0, np.array([1, 1])) == 1


def test_merges_of_a_trained_tokenizer_that_swallow_the_newline():
    text = "    return x\n\nprint(f(1))\n"
    tokenizer = BpeTokenizer.train([text] * 50, 300)
    ids = tokenizer.encode(text)
    count = StopWatch(("\nprint",), tokenizer.token_bytes, 1).tokens_to_stop(0, np.array(ids))
    assert 0 < count < len(ids)
    assert before_stop(tokenizer.decode(ids[:count]), ("\nprint",)) == "    return x\n"
