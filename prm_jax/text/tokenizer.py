"""Text in, token ids out, and back without the loss of a byte.

`Tokenizer` is what every room asks of a tokenizer. `BpeTokenizer` is byte-level BPE over the `tokenizers`
package, trained on the domain for small models (`pretrained.py` has those of published checkpoints);
`ByteTokenizer` has one id per byte and needs no training, for tests. The tasks, PPO, evaluation and the report use
them.

SentencePiece's default normaliser erases newlines and indentation, which is why it is not used here.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol

import tokenizers
from etils import epath

from prm_jax.errors import UserError

PAD_ID, BOS_ID, EOS_ID = 0, 1, 2
_SPECIALS = ("<pad>", "<bos>", "<eos>")
_SMALLEST = len(_SPECIALS) + 256

# What BPE may merge into one token never crosses a piece, and no piece holds two newlines, so no token ends two lines
# of a program. `words`: a newline with the indentation behind it, a word with the space before it, one digit, a run of
# punctuation with the space before it. `phrases`: all between two commas, digits or newlines, so that a small
# vocabulary covers the idioms of a narrow domain.
_PIECES = {
    "words": r"\r?\n[ \t]*| ?[\p{L}_]+| ?\p{N}| ?[^\s\p{L}\p{N}_]+|\s",
    "phrases": r"\r?\n[ \t]*|\p{N}|,|[^\r\n,\p{N}]+|\r",
}


class Tokenizer(Protocol):
    """Ids from 0 to `vocab_size - 1`.

    Attributes:
      vocab_size: number of ids, special ones included.
      pad_id: the id that an exported model is padded with. Our own arrays hold 0 where they are padded, whatever that
        id stands for: their lengths and segments tell.
      bos_id: the id before a prompt.
      eos_id: the id that ends a program.
      fingerprint: a hash that two tokenizers share only if they are the same.
    """

    vocab_size: int
    pad_id: int
    bos_id: int
    eos_id: int
    fingerprint: str

    def encode(self, text: str) -> list[int]:
        """The ids of a text; never a special one."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, special ones left out; has as many UTF-8 bytes as the ids (`bytes_to_text`)."""
        ...

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that an id stands for, `b""` for a special one."""
        ...


def bytes_to_text(data: bytes) -> str:
    """Decodes UTF-8; each byte that is no part of a character becomes one `?`.

    Sampled ids may stand for broken UTF-8. One byte for one byte keeps every byte offset in the text equal to the
    offset in the ids' bytes, which U+FFFD, three bytes long, would not; and outside a string or comment `?` is
    a syntax error, as it should be.
    """
    return data.decode("utf-8", "prm_jax_question_mark")


def _question_marks(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "?" * (error.end - error.start), error.end


codecs.register_error("prm_jax_question_mark", _question_marks)


class BpeTokenizer:
    """Byte-level BPE: ids 0 `pad`, 1 `bos`, 2 `eos`, the 256 bytes, then the merges."""

    pad_id, bos_id, eos_id = PAD_ID, BOS_ID, EOS_ID

    def __init__(self, model: tokenizers.Tokenizer):
        """Takes a byte-level BPE of the `tokenizers` package; use `train` or `load`."""
        # A program may contain the text "<eos>"; it must never become the token.
        model.encode_special_tokens = True
        self._model = model
        self.vocab_size: int = model.get_vocab_size()
        self.fingerprint: str = hashlib.sha256(model.to_str().encode()).hexdigest()
        byte_of = {character: byte for byte, character in enumerate(byte_alphabet())}
        self._bytes = [b""] * len(_SPECIALS)
        for token, token_id in sorted(model.get_vocab().items(), key=lambda item: item[1]):
            if token_id >= len(_SPECIALS):
                self._bytes.append(bytes(byte_of[character] for character in token))

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, pieces: str = "words") -> BpeTokenizer:
        """Learns at most `vocab_size` ids from texts; `pieces` (`"words"`, `"phrases"`) bounds what becomes one token.

        Raises:
          UserError: where `vocab_size` has no room for the bytes and the special ids, or `pieces` is neither.
        """
        if pieces not in _PIECES:
            raise UserError(f"pieces is {pieces!r}; give one of {', '.join(_PIECES)}")
        if vocab_size < _SMALLEST:
            raise UserError(f"vocab_size is {vocab_size}; a byte-level tokenizer needs at least {_SMALLEST}")
        model = tokenizers.Tokenizer(tokenizers.models.BPE())
        model.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
            [
                tokenizers.pre_tokenizers.Split(tokenizers.Regex(_PIECES[pieces]), behavior="isolated"),
                tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        model.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(_SPECIALS),
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        model.train_from_iterator(texts, trainer=trainer)
        return cls(model)

    @classmethod
    def load(cls, path: epath.PathLike) -> BpeTokenizer:
        """Reads what `save` wrote.

        Raises:
          UserError: where the file is missing or is not such a tokenizer.
        """
        try:
            model = tokenizers.Tokenizer.from_str(epath.Path(path).read_text())
        except FileNotFoundError:
            raise UserError(f"no tokenizer at {path}; the stage `tasks` makes one") from None
        except Exception as error:  # `tokenizers` raises bare exceptions.
            raise UserError(f"{path} is no tokenizer file: {error}") from None
        if tuple(model.id_to_token(i) for i in range(len(_SPECIALS))) != _SPECIALS:
            raise UserError(f"{path}: ids 0, 1, 2 must be {', '.join(_SPECIALS)}; use a tokenizer made by prm_jax")
        return cls(model)

    def save(self, path: epath.PathLike) -> None:
        """Writes the tokenizer as one JSON file, whole or not at all."""
        path = epath.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.parent / f"{path.name}.part"
        part.write_text(self._model.to_str())
        part.replace(path)

    def encode(self, text: str) -> list[int]:
        """The ids of a text; never a special one."""
        return self._model.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, special ones left out; see `bytes_to_text`."""
        return bytes_to_text(b"".join([self._bytes[i] for i in ids]))

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that an id stands for, `b""` for a special one."""
        return self._bytes[token_id]

    def file_content(self) -> str:
        """The `tokenizer.json` of the `tokenizers` package."""
        return self._model.to_str()


class ByteTokenizer:
    """One id per byte, behind the three special ids; for tests."""

    pad_id, bos_id, eos_id = PAD_ID, BOS_ID, EOS_ID
    vocab_size = _SMALLEST
    fingerprint = "bytes"

    def encode(self, text: str) -> list[int]:
        """The ids of a text; never a special one."""
        return [byte + len(_SPECIALS) for byte in text.encode("utf-8")]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, special ones left out; see `bytes_to_text`."""
        return bytes_to_text(b"".join(self.token_bytes(i) for i in ids))

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that an id stands for, `b""` for a special one."""
        return bytes([token_id - len(_SPECIALS)]) if token_id >= len(_SPECIALS) else b""


def byte_alphabet() -> Sequence[str]:
    """The character by which byte-level BPE writes each byte: itself where it prints, else one from U+0100 on."""
    prints = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in prints]
    return [chr(byte) if byte in prints else chr(256 + others.index(byte)) for byte in range(256)]
