"""A tokenizer rebuilt from GGUF metadata gives the ids of the `tokenizer.json` that the metadata was made from."""

import json
import os
import pathlib

import pytest
import tokenizers
from tokenizers import pre_tokenizers

from prm_jax.errors import UserError
from prm_jax.text import gguf_tokenizer
from prm_jax.text.pretrained import write_files

TEXTS = ["def f(x1):\n\n    return 'é 漢' + 12345 * x1\r\n", "it's  a\ttest,\n\n\n   no?!\n", "I'LL 007"]
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN.replace(r"\p{N}| ", r"\p{N}{1,3}| ")


def byte_level(use_regex):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def split(expression):
    return [pre_tokenizers.Split(tokenizers.Regex(expression), "isolated"), byte_level(False)]


# As the checkpoints' own tokenizer.json say it.
CUTS = {
    "gpt-2": [byte_level(True)],
    "smollm": [pre_tokenizers.Digits(individual_digits=True), byte_level(True)],
    "qwen2": split(QWEN),
    "llama-bpe": split(LLAMA3),
}


def original(cut: str) -> tokenizers.Tokenizer:
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = pre_tokenizers.Sequence(CUTS[cut])
    model.decoder = tokenizers.decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=["<|end|>"], show_progress=False
    )
    model.train_from_iterator(TEXTS * 3, trainer=trainer)
    model.add_tokens(["<tool>"])
    return model


def metadata(model: tokenizers.Tokenizer, cut: str) -> dict:
    tokens = sorted(model.get_vocab(), key=model.get_vocab().get)
    types = {"<|end|>": 3, "<tool>": 4}
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": cut,
        "tokenizer.ggml.tokens": [*tokens, "[PAD]"],
        "tokenizer.ggml.token_type": [*(types.get(token, 1) for token in tokens), 5],
        "tokenizer.ggml.merges": [" ".join(merge) for merge in json.loads(model.to_str())["model"]["merges"]],
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.chat_template": "{{ messages }}",
    }


@pytest.mark.parametrize("cut", CUTS)
def test_ids_are_those_of_the_original(cut):
    model = original(cut)
    size = model.get_vocab_size() + 1
    rebuilt = gguf_tokenizer.build(metadata(model, cut), size, "file")
    for text in [*TEXTS, "a <tool> b"]:
        assert rebuilt.encode(text) == model.encode(text).ids
        assert rebuilt.decode(rebuilt.encode(text)) == text
    assert any(len(rebuilt.token_bytes(i)) > 2 for i in rebuilt.encode(TEXTS[0]))
    assert rebuilt.eos_id == rebuilt.bos_id == rebuilt.pad_id == 0
    assert rebuilt.token_bytes(0) == rebuilt.token_bytes(size - 1) == b""
    assert 0 not in rebuilt.encode("<|end|>")
    assert rebuilt.chat_template == "{{ messages }}"


def beside(cut: str, family: str, folder: pathlib.Path):
    """A rebuilt tokenizer, and what `transformers` loads of it beside a model of a family."""
    transformers = pytest.importorskip("transformers")
    model = original(cut)
    rebuilt = gguf_tokenizer.build(metadata(model, cut), model.get_vocab_size() + 1, "file")
    write_files(rebuilt, folder)
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    return rebuilt, transformers.AutoTokenizer.from_pretrained(folder)


families = pytest.mark.parametrize(
    ("cut", "family"), [("smollm", "llama"), ("llama-bpe", "llama"), ("qwen2", "qwen2"), ("qwen2", "qwen3")]
)


@families
def test_transformers_gives_the_same_ids_beside_a_model_of_the_family(cut, family, tmp_path):
    rebuilt, theirs = beside(cut, family, tmp_path)
    for text in [*TEXTS, "a <tool> b"]:
        assert theirs.encode(text, add_special_tokens=False) == rebuilt.encode(text)


@pytest.fixture(scope="module")
def mbpp() -> list[str]:
    """Every text of MBPP."""
    if "PRM_JAX_MBPP" not in os.environ:
        pytest.skip("PRM_JAX_MBPP names no mbpp.jsonl")
    rows = [json.loads(line) for line in pathlib.Path(os.environ["PRM_JAX_MBPP"]).read_text().splitlines()]
    assert len(rows) == 974
    return [text for row in rows for text in (row["text"], row["code"], row["test_setup_code"], *row["test_list"])]


@pytest.mark.parametrize("cut", CUTS)
def test_ids_of_every_mbpp_text_are_those_of_the_original(cut, mbpp):
    model = original(cut)
    rebuilt = gguf_tokenizer.build(metadata(model, cut), model.get_vocab_size() + 1, "file")
    assert [rebuilt.encode(text) for text in mbpp] == [row.ids for row in model.encode_batch(mbpp)]


@families
@pytest.mark.slow
def test_transformers_gives_the_same_ids_to_every_mbpp_text(cut, family, mbpp, tmp_path):
    rebuilt, theirs = beside(cut, family, tmp_path)
    assert theirs(mbpp, add_special_tokens=False)["input_ids"] == [rebuilt.encode(text) for text in mbpp]


def test_what_is_no_byte_level_bpe_is_refused():
    fields = metadata(original("gpt-2"), "gpt-2")
    for wrong in ({"tokenizer.ggml.model": "llama"}, {"tokenizer.ggml.pre": "deepseek-coder"}):
        with pytest.raises(UserError, match="supported is 'gpt2' with gpt-2, smollm, qwen2, llama-bpe"):
            gguf_tokenizer.build(fields | wrong, 500, "file")
    del fields["tokenizer.ggml.merges"]
    with pytest.raises(UserError, match=r"lacks tokenizer\.ggml\.merges"):
        gguf_tokenizer.build(fields, 500, "file")


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("ggml.tokens", 7, "the tokenizer of file is torn"),
        ("ggml.tokens", ["a", ["b"]], "the tokenizer of file is torn"),
        ("ggml.token_type", [1, 1], "the tokenizer of file is torn .*shorter"),
        ("ggml.token_type", None, "the tokenizer of file is torn"),
        ("ggml.merges", ["a"], "the tokenizer of file is torn"),
        ("ggml.merges", [7], "the tokenizer of file is torn"),
        ("ggml.merges", ["a zebra"], "the tokenizer of file is torn .*`zebra` out of vocabulary"),
        ("ggml.eos_token_id", [0], r"the id of bos is \[0\], and the model has the ids 0 to"),
        ("ggml.eos_token_id", 0.0, "the id of bos is 0.0, and the model has the ids 0 to"),
        ("ggml.pre", ["gpt-2"], "supported is 'gpt2' with gpt-2"),
        ("chat_template", 7, "the chat template is 7 and no text"),
    ],
)
def test_fields_that_are_torn_are_told(name, wrong, message):
    fields = metadata(original("gpt-2"), "gpt-2") | {f"tokenizer.{name}": wrong}
    with pytest.raises(UserError, match=message) as caught:
        gguf_tokenizer.build(fields, 500, "file")
    assert "\n" not in str(caught.value)
