"""The tokenizer loses no byte."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prm_jax.errors import UserError
from prm_jax.text.tokenizer import BpeTokenizer, ByteTokenizer, bytes_to_text

CORPUS = ["def solve(xs):\n    total = 0\n    for x in xs:\n        total += x\n    return total\n"] * 5
BPE = BpeTokenizer.train(CORPUS, 320)
every_tokenizer = pytest.mark.parametrize("tokenizer", [BPE, ByteTokenizer()])
texts = st.text(st.characters(codec="utf-8"), max_size=40) | st.lists(
    st.sampled_from(["\n    ", "\r\n", "\t", "  ", "<eos>", "<pad>", "total", "é", " x", "12"]), max_size=12
).map("".join)


@every_tokenizer
@given(text=texts)
@settings(max_examples=200, deadline=None)
def test_round_trip_is_exact_and_has_no_special_ids(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()
    assert all(2 < i < tokenizer.vocab_size for i in ids)
    assert tokenizer.decode([tokenizer.bos_id, *ids, tokenizer.eos_id, tokenizer.pad_id]) == text


@every_tokenizer
def test_every_byte_has_an_id(tokenizer):
    single = {tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)}
    assert {bytes([byte]) for byte in range(256)} <= single


@every_tokenizer
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_ids_decode_to_as_many_bytes(tokenizer, data):
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=20))
    assert len(tokenizer.decode(ids).encode()) == sum(len(tokenizer.token_bytes(i)) for i in ids)


def test_broken_utf8_becomes_question_marks():
    assert bytes_to_text("é漢".encode()[:-1] + b"\xffa") == "é???a"


def test_newline_with_indentation_and_words_are_single_tokens():
    pieces = [BPE.token_bytes(i) for i in BPE.encode(CORPUS[0])]
    assert b"\n    " in pieces
    assert b" total" in pieces
    assert all(piece.count(b"\n") <= 1 for piece in pieces)


def test_save_and_load(tmp_path):
    BPE.save(tmp_path / "deep" / "tokenizer.json")
    loaded = BpeTokenizer.load(tmp_path / "deep" / "tokenizer.json")
    assert loaded.fingerprint == BPE.fingerprint
    assert loaded.encode("a <eos>\n  b") == BPE.encode("a <eos>\n  b")
    assert BpeTokenizer.train(CORPUS, 320).fingerprint == BPE.fingerprint
    assert BpeTokenizer.train(CORPUS, 270).fingerprint != BPE.fingerprint


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match="no tokenizer at"):
        BpeTokenizer.load(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(UserError, match="no tokenizer file"):
        BpeTokenizer.load(tmp_path / "bad.json")
    with pytest.raises(UserError, match="at least 259"):
        BpeTokenizer.train(CORPUS, 100)
