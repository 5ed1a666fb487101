"""Tokenizers of checkpoints lose no byte, know their special ids, and go back to the files they came from."""

import json
import os
import pathlib
import random

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from prm_jax.errors import UserError
from prm_jax.text.pretrained import PretrainedTokenizer, load_tokenizer, write_files
from prm_jax.text.tokenizer import BpeTokenizer

CORPUS = ["def solve(xs):\n    total = 0\n    for x in xs:\n        total += x\n    return total\n"] * 5
TEMPLATE = "{% for message in messages %}<|start|>{{ message.content }}<|end|>{% endfor %}"


def tokenizer_json() -> str:
    """A byte-level BPE as Qwen's are: a normal form, special tokens at the end, an added token that is none."""
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.normalizer = tokenizers.normalizers.NFC()
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    model.train_from_iterator(CORPUS, trainer=trainer)
    model.add_special_tokens(["<|text|>", "<|end|>"])
    model.add_tokens(["<tool é>"])
    return model.to_str()


CONTENT = tokenizer_json()
SIZE = tokenizers.Tokenizer.from_str(CONTENT).get_vocab_size()


def write(folder: pathlib.Path, content: str = CONTENT, **own) -> pathlib.Path:
    (folder / "tokenizer.json").write_text(content)
    config = {"bos_token": None, "eos_token": "<|end|>", "pad_token": {"content": "<|text|>"}} | own
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("checkpoint"), chat_template=TEMPLATE)
    return PretrainedTokenizer.from_folder(folder, SIZE + 5)


@given(text=st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(["e\u0301", "<|end|>", "<tool é>\n"]))
@settings(max_examples=200, deadline=None)
def test_round_trip_is_exact_and_has_no_special_ids(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()
    assert not {tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id} & set(ids)
    assert tokenizer.decode([tokenizer.bos_id, *ids, tokenizer.eos_id]) == text


def test_special_ids_are_those_of_the_files(tokenizer, tmp_path):
    model = tokenizers.Tokenizer.from_str(CONTENT)
    assert tokenizer.eos_id == tokenizer.bos_id == model.token_to_id("<|end|>")
    assert tokenizer.pad_id == model.token_to_id("<|text|>")
    assert tokenizer.chat_template == TEMPLATE
    assert tokenizer.vocab_size == SIZE + 5 and tokenizer.token_bytes(SIZE + 4) == b""
    write(tmp_path, eos_token=None)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 8], "bos_token_id": 9}))
    numbered = PretrainedTokenizer.from_folder(tmp_path, SIZE)
    assert (numbered.bos_id, numbered.eos_id) == (9, 7)


@pytest.mark.parametrize("wrong", [SIZE, -1, "7", [[7]]])
def test_special_ids_are_ids_of_the_model(wrong, tmp_path):
    (write(tmp_path) / "config.json").write_text(json.dumps({"bos_token_id": wrong}))
    with pytest.raises(UserError, match=f"the id of bos is .*, and the model has the ids 0 to {SIZE - 1}:"):
        PretrainedTokenizer.from_folder(tmp_path, SIZE)


def test_a_named_token_may_stand_in_the_vocabulary_alone(tmp_path):
    content = json.loads(CONTENT)
    text, end, tool = content["added_tokens"]
    number = len(content["model"]["vocab"])
    content["model"]["vocab"][end["content"]] = number
    content["added_tokens"] = [text | {"id": number + 1}, tool | {"id": number + 2}]
    write(tmp_path, json.dumps(content), chat_template=TEMPLATE)
    tokenizer = PretrainedTokenizer.from_folder(tmp_path, SIZE)
    assert tokenizer.eos_id == number and tokenizer.token_bytes(number) == b""
    assert number not in tokenizer.encode("a<|end|>") and tokenizer.decode(tokenizer.encode("a<|end|>")) == "a<|end|>"
    assert tokenizer.chat_ids("hi") == [*tokenizer.encode("<|start|>hi"), number]
    write_files(tokenizer, tmp_path)
    assert PretrainedTokenizer.from_folder(tmp_path, SIZE).eos_id == number


@pytest.mark.parametrize("token", ["!", "xs"])
def test_a_named_token_that_texts_are_made_of_keeps_its_bytes(token, tmp_path):
    tokenizer = PretrainedTokenizer.from_folder(write(tmp_path, pad_token=token), SIZE)
    assert [tokenizer.pad_id] == tokenizer.encode(token) and tokenizer.decode([tokenizer.pad_id]) == token
    assert tokenizer.file_content() == CONTENT


def test_the_lengths_of_a_fine_tunes_rows_are_not_read(tmp_path):
    model = tokenizers.Tokenizer.from_str(CONTENT)
    model.enable_truncation(8)
    model.enable_padding(length=16)
    tokenizer = PretrainedTokenizer.from_folder(write(tmp_path, model.to_str()), SIZE)
    assert tokenizer.encode(CORPUS[0]) == tokenizers.Tokenizer.from_str(CONTENT).encode(CORPUS[0]).ids
    assert tokenizer.encode("x") == tokenizers.Tokenizer.from_str(CONTENT).encode("x").ids
    # Others read the file too: it goes back as it came.
    assert tokenizer.file_content() == model.to_str()


def test_an_added_token_that_is_not_special_has_its_bytes(tokenizer):
    (token_id,) = tokenizer.encode("<tool é>")
    assert tokenizer.token_bytes(token_id) == "<tool é>".encode()


def test_save_and_load(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "deep" / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "deep" / "tokenizer.json")
    assert isinstance(loaded, PretrainedTokenizer)
    assert loaded.fingerprint == tokenizer.fingerprint and loaded.chat_template == TEMPLATE
    assert loaded.encode(CORPUS[0]) == tokenizer.encode(CORPUS[0])
    trained = BpeTokenizer.train(CORPUS, 300)
    trained.save(tmp_path / "trained.json")
    assert load_tokenizer(tmp_path / "trained.json").fingerprint == trained.fingerprint


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match=r"no tokenizer\.json in"):
        PretrainedTokenizer.from_folder(tmp_path, SIZE)
    write(tmp_path)
    with pytest.raises(UserError, match=f"ids up to {SIZE - 1}, the model 100 embeddings"):
        PretrainedTokenizer.from_folder(tmp_path, 100)
    write(tmp_path, eos_token=None)
    with pytest.raises(UserError, match="names no eos_token"):
        PretrainedTokenizer.from_folder(tmp_path, SIZE)
    (tmp_path / "config.json").write_text('{"eos_token_id": []}')
    with pytest.raises(UserError, match="names no eos_token"):
        PretrainedTokenizer.from_folder(tmp_path, SIZE)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer_config\.json is torn"):
        PretrainedTokenizer.from_folder(tmp_path, SIZE)
    write(tmp_path, CONTENT[:100])
    with pytest.raises(UserError, match=r"tokenizer\.json is torn"):
        PretrainedTokenizer.from_folder(tmp_path, SIZE)
    (tmp_path / "tokenizer.json").write_bytes(CONTENT.encode("latin-1", "replace"))
    with pytest.raises(UserError, match=r"tokenizer\.json is torn"):
        PretrainedTokenizer.from_folder(tmp_path, SIZE)
    (write(tmp_path) / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"chat_template\.jinja is no UTF-8 text"):
        PretrainedTokenizer.from_folder(tmp_path, SIZE)


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {"added_tokens": added}
            for added in (None, ["x"], [{"content": "x"}], [{"id": 3}], [{"content": [], "id": 3}])
        ),
        *({"model": model} for model in ([1], "x", {"merges": [1, 2]}, {"merges": [["a", 2]]}, {"merges": 3})),
    ],
)
def test_a_tokenizer_whose_parts_have_other_kinds_is_torn(wrong, tmp_path):
    write(tmp_path, json.dumps(json.loads(CONTENT) | wrong))
    with pytest.raises(UserError, match="the tokenizer's files in .* are torn"):
        PretrainedTokenizer.from_folder(tmp_path, SIZE)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ([{"name": "default"}], "files in .* are torn .*'template'"),
        ([TEMPLATE], "files in .* are torn"),
        ({"default": TEMPLATE}, "the chat template is {'default': .* and no text"),
    ],
)
def test_chat_templates_of_another_kind_are_told(template, message, tmp_path):
    with pytest.raises(UserError, match=message):
        PretrainedTokenizer.from_folder(write(tmp_path, chat_template=template), SIZE)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_file_with_any_wrong_byte_is_read_or_refused(name, tmp_path):
    path = write(tmp_path, chat_template=[{"name": "default", "template": TEMPLATE}]) / name
    whole, generator, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(300):
        place = generator.randrange(len(whole))
        path.write_bytes(whole[:place] + generator.randbytes(1) + whole[place + 1 :])
        try:
            PretrainedTokenizer.from_folder(tmp_path, SIZE)
        except UserError:
            refused += 1
    assert refused > 100


def test_tokenizers_that_change_texts_are_refused(tmp_path):
    changed = json.loads(CONTENT)
    changed["pre_tokenizer"]["add_prefix_space"] = True
    with pytest.raises(UserError, match="changes texts"):
        PretrainedTokenizer.from_folder(write(tmp_path, json.dumps(changed)), SIZE)
    with pytest.raises(UserError, match="is no tokenizer file"):
        PretrainedTokenizer.from_folder(write(tmp_path, '{"added_tokens": [{"content": "<|end|>", "id": 3}]}'), SIZE)
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"漢": 0, "字": 1, "?": 2}, unk_token="?"))
    words.add_special_tokens(["<|end|>", "<|text|>"])
    with pytest.raises(UserError, match="no byte-level BPE"):
        PretrainedTokenizer.from_folder(write(tmp_path, words.to_str()), SIZE)


def test_a_byte_that_the_vocabulary_lacks_is_not_lost_in_silence(tmp_path):
    content = json.loads(CONTENT)
    del content["model"]["vocab"][chr(0x114)]  # How byte-level BPE writes the byte 0x14.
    tokenizer = PretrainedTokenizer.from_folder(write(tmp_path, json.dumps(content)), SIZE)
    with pytest.raises(UserError, match=r"cannot write the characters \['\\x14'\]"):
        tokenizer.encode("a\x14b")


@pytest.mark.parametrize("kind", ["pretrained", "trained"])
def test_transformers_loads_what_is_written_and_gives_the_same_ids(kind, tokenizer, tmp_path):
    transformers = pytest.importorskip("transformers")
    own = tokenizer if kind == "pretrained" else BpeTokenizer.train(CORPUS, 300)
    write_files(own, tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (own.bos_id, own.eos_id, own.pad_id)
    for text in (CORPUS[0], "é = '漢'\r\n\tx  12"):
        assert theirs.encode(text, add_special_tokens=False) == own.encode(text)
        assert theirs.decode(own.encode(text)) == text
    if kind == "pretrained":
        messages = [{"role": "user", "content": "hi"}]
        assert theirs.apply_chat_template(messages, tokenize=False) == "<|start|>hi<|end|>"


@pytest.mark.skipif("PRM_JAX_MBPP" not in os.environ, reason="PRM_JAX_MBPP names no mbpp.jsonl")
def test_round_trip_on_every_mbpp_text(tokenizer):
    rows = [json.loads(line) for line in pathlib.Path(os.environ["PRM_JAX_MBPP"]).read_text().splitlines()]
    for text in (text for row in rows for text in (row["text"], row["code"], *row["test_list"])):
        assert tokenizer.decode(tokenizer.encode(text)) == text
