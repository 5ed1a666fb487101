"""The tokenizer that a GGUF file describes: its metadata in, a `PretrainedTokenizer` out.

`models/gguf_file.py` reads the metadata. GGUF names the way in which a text is cut into words before BPE; what each
name means stands in the table below, as the checkpoints' own `tokenizer.json` say it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tokenizers
from tokenizers import pre_tokenizers

from prm_jax.errors import UserError
from prm_jax.text.pretrained import PretrainedTokenizer, Specials

_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5
"""Types of tokens, in GGUF's numbers."""

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _split(digits: str) -> list[pre_tokenizers.PreTokenizer]:
    """Words by Llama 3's expression, with at most so many digits in one."""
    return [
        pre_tokenizers.Split(tokenizers.Regex(_WORDS.format(digits=digits)), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]


def _gpt2(*before: pre_tokenizers.PreTokenizer) -> list[pre_tokenizers.PreTokenizer]:
    """Words by GPT-2's expression."""
    return [*before, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]


_CUTS = {
    "gpt-2": _gpt2,
    "smollm": lambda: _gpt2(pre_tokenizers.Digits(individual_digits=True)),
    "qwen2": lambda: _split(""),
    "llama-bpe": lambda: _split("{1,3}"),
}


def build(metadata: Mapping[str, Any], vocab_size: int, where: str) -> PretrainedTokenizer:
    """The tokenizer of a GGUF file.

    Args:
      metadata: the file's fields by name.
      vocab_size: ids of the model.
      where: the file's path, for messages.

    Raises:
      UserError: it is no byte-level BPE, its words are cut in a way that is not known here, or its fields are torn.
    """
    kind, cut = (metadata.get(f"tokenizer.ggml.{name}") for name in ("model", "pre"))
    if kind != "gpt2" or not isinstance(cut, str) or cut not in _CUTS:
        raise UserError(
            f"{where} has a tokenizer {kind!r} with words as in {cut!r}; supported is 'gpt2' with "
            f"{', '.join(_CUTS)}: give another checkpoint"
        )
    try:
        model, specials = _model(metadata, cut), _specials(metadata)
    except KeyError as error:
        raise UserError(f"{where} lacks {error.args[0]}: give a file that holds its tokenizer") from None
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise UserError(f"the tokenizer of {where} is torn ({error}): download the file again") from None
    return PretrainedTokenizer(model.to_str(), specials, vocab_size, where)


def _model(metadata: Mapping[str, Any], cut: str) -> tokenizers.Tokenizer:
    tokens = list(metadata["tokenizer.ggml.tokens"])
    types = list(metadata["tokenizer.ggml.token_type"])
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    vocabulary = {token: i for i, (token, type_) in enumerate(zip(tokens, types, strict=True)) if type_ != _UNUSED}
    try:
        # Llama 3 looks a whole word up before it merges.
        bpe = tokenizers.models.BPE(vocabulary, merges, ignore_merges=cut == "llama-bpe")
    except Exception as error:  # `tokenizers` raises bare exceptions.
        raise ValueError(" ".join(str(error).split())) from None
    model = tokenizers.Tokenizer(bpe)
    if cut == "qwen2":
        model.normalizer = tokenizers.normalizers.NFC()
    model.pre_tokenizer = pre_tokenizers.Sequence(_CUTS[cut]())
    model.decoder = tokenizers.decoders.ByteLevel()
    for type_, add in ((_CONTROL, model.add_special_tokens), (_USER_DEFINED, model.add_tokens)):
        chosen = [token for token, own in zip(tokens, types, strict=True) if own == type_]
        add([tokenizers.AddedToken(token, normalized=False, special=type_ == _CONTROL) for token in chosen])
    return model


def _specials(metadata: Mapping[str, Any]) -> Specials:
    eos = metadata["tokenizer.ggml.eos_token_id"]
    return Specials(
        bos_id=metadata.get("tokenizer.ggml.bos_token_id", eos),
        eos_id=eos,
        pad_id=metadata.get("tokenizer.ggml.padding_token_id", eos),
        chat_template=metadata.get("tokenizer.chat_template"),
        bos_named="tokenizer.ggml.bos_token_id" in metadata,
    )
