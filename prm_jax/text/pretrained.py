"""Tokenizers of published checkpoints: their files in, the `Tokenizer` of this project out, and back to their files.

`tokenizer.json` is read through the `tokenizers` package; special ids and the chat template stand in the files beside
it. `gguf_tokenizer.py` makes the same object from a GGUF file. The stages use it in place of a trained `BpeTokenizer`
where an experiment starts from a checkpoint; `prm_jax export` writes either kind.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import tokenizers
from etils import epath

from prm_jax.errors import UserError
from prm_jax.text.chat import ChatConfig, render
from prm_jax.text.tokenizer import BpeTokenizer, Tokenizer, byte_alphabet, bytes_to_text

_KIND = "pretrained_tokenizer"
# Whatever changes texts (a space put in front, a Unicode form, SentencePiece's marks) changes this one.
_PROMPT = "\uf8ff"
"""Stands for a prompt while a template is rendered: no template has a meaning for this private character."""
_PROBE = "def f(x):\n    \treturn  'é e\u0301 漢'\r\n"


@dataclasses.dataclass(frozen=True)
class Specials:
    """What a checkpoint says of its tokenizer beside `tokenizer.json`.

    Attributes:
      bos_id: the id before a prompt; the checkpoint's end of text where it names none.
      eos_id: the id that ends a program.
      pad_id: the id that others pad with.
      chat_template: the Jinja text that turns messages into a prompt, as the checkpoint has it; None for none.
      bos_named: whether the checkpoint names a `bos`.
    """

    bos_id: int
    eos_id: int
    pad_id: int
    chat_template: str | None = None
    bos_named: bool = True


class PretrainedTokenizer:
    """A byte-level BPE that came with a checkpoint; a `Tokenizer`.

    Unlike `transformers` it never turns a text into a special id and, so that no byte is lost, does not bring a text
    into a Unicode normal form. Of texts that are in that form and hold no special token, both give the same ids.
    """

    def __init__(self, content: str, specials: Specials, vocab_size: int, where: str):
        """Use `from_folder`, `load` or `gguf_tokenizer.build`.

        Args:
          content: of `tokenizer.json`.
          specials: what stands beside it.
          vocab_size: ids of the model; those behind the tokenizer's own stand for no bytes.
          where: what to call it in messages.

        Raises:
          UserError: it is no byte-level BPE, or it or `specials` has ids that the model has not, or no text for a
            template.
        """
        try:
            model = tokenizers.Tokenizer.from_str(content)
        except Exception as error:  # `tokenizers` raises bare exceptions.
            raise UserError(f"{where} is no tokenizer file ({error}): download it again") from None
        # What a fine-tune's rows were cut and filled to; `transformers` does not encode with it either.
        model.no_truncation()
        model.no_padding()
        size = max(model.get_vocab().values(), default=-1) + 1
        if size > vocab_size:
            raise UserError(
                f"{where} has ids up to {size - 1}, the model {vocab_size} embeddings: "
                "give the tokenizer of that checkpoint"
            )
        for name, token_id in (("bos", specials.bos_id), ("eos", specials.eos_id), ("pad", specials.pad_id)):
            if not isinstance(token_id, int) or token_id not in range(vocab_size):
                raise UserError(
                    f"{where}: the id of {name} is {token_id!r}, and the model has the ids 0 to {vocab_size - 1}: "
                    "give the tokenizer and the configuration of one checkpoint"
                )
        if not isinstance(specials.chat_template, str | None):
            raise UserError(
                f"{where}: the chat template is {specials.chat_template!r:.80} and no text: download it again"
            )
        self._content, self._specials = content, specials
        self.bos_id, self.eos_id, self.pad_id = specials.bos_id, specials.eos_id, specials.pad_id
        self.chat_template = specials.chat_template
        self.chat = ChatConfig()
        self.vocab_size = vocab_size
        self._bytes = _bytes_of_ids(model, vocab_size, where)
        # A program may contain the text of a special token; it must never become the token.
        model.encode_special_tokens = True
        if isinstance(model.normalizer, tokenizers.normalizers.NFC):
            model.normalizer = None  # type: ignore[assignment]
        self._model = model
        self.fingerprint: str = self._fingerprint()
        if self.decode(model.encode(_PROBE, add_special_tokens=False).ids) != _PROBE:
            raise UserError(f"{where} changes texts: only byte-level BPE is supported, give another checkpoint")

    @classmethod
    def from_folder(cls, folder: epath.PathLike, vocab_size: int) -> PretrainedTokenizer:
        """The tokenizer of a Hugging Face folder, for a model of `vocab_size` ids.

        Raises:
          UserError: a file is missing or torn, or the tokenizer does not fit the model.
        """
        folder = epath.Path(folder)
        path = folder / "tokenizer.json"
        if not path.exists():
            raise UserError(f"no tokenizer.json in {folder}: give the folder of a checkpoint that has one")
        try:
            content, named = _read(path), _named_tokens(folder)
            specials = _read_specials(folder, named, _ids(content))
            text = _with_special(_read_text(path), content, named.values())
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"the tokenizer's files in {folder} are torn ({error!r}): download them again") from None
        return cls(text, specials, vocab_size, str(path))

    @classmethod
    def load(cls, path: epath.PathLike) -> PretrainedTokenizer:
        """Reads what `save` wrote.

        Raises:
          UserError: the file is missing or is not such a tokenizer.
        """
        try:
            state = json.loads(epath.Path(path).read_text())
            specials = Specials(**state["specials"])
            tokenizer = cls(json.dumps(state[_KIND]), specials, state["vocab_size"], str(path))
            return tokenizer.with_chat(ChatConfig(**state.get("chat", {})))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is no tokenizer of a checkpoint ({error!r}): run `prm_jax tasks` again") from None

    def save(self, path: epath.PathLike) -> None:
        """Writes the tokenizer as one JSON file, whole or not at all."""
        path = epath.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.parent / f"{path.name}.part"
        part.write_text(json.dumps(self._state()))
        part.replace(path)

    def with_chat(self, chat: ChatConfig) -> PretrainedTokenizer:
        """The same tokenizer, with prompts that are written so.

        Raises:
          UserError: the checkpoint has no template to apply.
        """
        if chat.apply and self.chat_template is None:
            raise UserError("ChatConfig.apply is set, but the checkpoint has no chat template: unset it")
        changed = copy.copy(self)
        changed.chat = chat
        changed.fingerprint = changed._fingerprint()
        return changed

    def chat_ids(self, prompt: str) -> list[int]:
        """The ids of a prompt as a user's message, up to where the assistant's answer begins.

        They are those that `transformers` gives, but that no text of the prompt becomes a special token: only what the
        template itself writes does.

        Raises:
          UserError: the template fails, or leaves the message out.
        """
        around = self._rendered_around_prompt()
        if len(around) == 1:
            raise UserError(
                "the checkpoint's chat template leaves the user's message out: set ChatConfig.apply = False"
            )
        added = {token.content: i for i, token in self._model.get_added_tokens_decoder().items()}
        ids: list[int] = []
        text = ""
        for index, piece in enumerate(around):
            text += prompt.strip() if index else ""
            # Every second part is a special token.
            for part, words in zip(self._specials_apart(piece), itertools.cycle((True, False)), strict=False):
                if words:
                    text += part
                else:
                    ids += [*self.encode(text), added[part.strip()]]
                    text = ""
        return ids + self.encode(text)

    def _rendered_around_prompt(self) -> list[str]:
        """What the template writes before the prompt and behind it."""
        named = {name: i for name, i in special_ids(self).items() if name != "bos" or self._specials.bos_named}
        tokens = {f"{name}_token": self._model.id_to_token(i) or "" for name, i in named.items()}
        date = datetime.datetime.fromisoformat(self.chat.date)
        rendered = render(self.chat_template or "", self.chat.messages(_PROMPT), tokens, date)
        return (rendered + self.chat.opening).split(_PROMPT)

    def _specials_apart(self, text: str) -> list[str]:
        """A text cut at its special tokens: words, token, words, …, words."""
        added = [token for token in self._model.get_added_tokens_decoder().values() if token.special]
        forms = [
            (r"\s*" if token.lstrip else "") + re.escape(token.content) + (r"\s*" if token.rstrip else "")
            for token in sorted(added, key=lambda token: -len(token.content))
        ]
        return re.split(f"({'|'.join(forms)})", text) if forms else [text]

    def encode(self, text: str) -> list[int]:
        """The ids of a text; never a special one.

        Raises:
          UserError: the vocabulary lacks one of its bytes (SmolLM2's has 235 of the 256).
        """
        ids = self._model.encode(text, add_special_tokens=False).ids
        # `tokenizers` leaves such bytes out in silence.
        if sum(len(self._bytes[i]) for i in ids) != len(text.encode()):
            raise UserError(f"the checkpoint's tokenizer cannot write {self._unwritten(text)}: change the text")
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, special ones left out; see `bytes_to_text`."""
        return bytes_to_text(b"".join([self._bytes[i] for i in ids]))

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that an id stands for, `b""` for a special one and for one that the tokenizer has not."""
        return self._bytes[token_id]

    def file_content(self) -> str:
        """The `tokenizer.json` that the checkpoint came with."""
        return self._content

    def _unwritten(self, text: str) -> str:
        lost = [c for c in dict.fromkeys(text) if self.decode(self._model.encode(c, add_special_tokens=False).ids) != c]
        return f"the characters {lost[:8]}"

    def _state(self) -> dict[str, Any]:
        specials = dataclasses.asdict(self._specials)
        state = {_KIND: json.loads(self._content), "specials": specials, "vocab_size": self.vocab_size}
        return state | ({"chat": dataclasses.asdict(self.chat)} if self.chat.apply else {})

    def _fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self._state(), sort_keys=True).encode()).hexdigest()


def load_tokenizer(path: epath.PathLike) -> BpeTokenizer | PretrainedTokenizer:
    """Reads the file of either kind.

    Raises:
      UserError: the file is missing or no tokenizer.
    """
    path = epath.Path(path)
    pretrained = path.exists() and f'"{_KIND}"' in path.read_text()[:64]
    return PretrainedTokenizer.load(path) if pretrained else BpeTokenizer.load(path)


def write_files(tokenizer: BpeTokenizer | PretrainedTokenizer, folder: epath.PathLike) -> None:
    """Writes the files from which `transformers.AutoTokenizer` loads the tokenizer."""
    folder = epath.Path(folder)
    content = tokenizer.file_content()
    model = tokenizers.Tokenizer.from_str(content)
    tokens = {f"{name}_token": model.id_to_token(i) for name, i in special_ids(tokenizer).items()}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **tokens}
    template = tokenizer.chat_template if isinstance(tokenizer, PretrainedTokenizer) else None
    if template is not None:
        config["chat_template"] = template
    (folder / "tokenizer.json").write_text(content)
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(tokens, indent=2) + "\n")


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """The special ids by the names that checkpoints give them."""
    return {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "pad": tokenizer.pad_id}


def _bytes_of_ids(model: tokenizers.Tokenizer, vocab_size: int, where: str) -> list[bytes]:
    """The bytes of each id."""
    byte_of = {character: byte for byte, character in enumerate(byte_alphabet())}
    added = model.get_added_tokens_decoder()
    found = [b""] * vocab_size
    for token, token_id in model.get_vocab(with_added_tokens=True).items():
        if token_id in added:
            found[token_id] = b"" if added[token_id].special else token.encode()
        elif set(token) <= byte_of.keys():
            found[token_id] = bytes(byte_of[character] for character in token)
        else:
            raise UserError(f"{where} is no byte-level BPE (it has {token!r}): give a checkpoint with such a tokenizer")
    return found


def _named_tokens(folder: epath.Path) -> dict[str, str]:
    """The special tokens that the tokenizer's own files name."""
    own, other = _read(folder / "tokenizer_config.json"), _read(folder / "special_tokens_map.json")
    tokens = {name: own.get(f"{name}_token") or other.get(f"{name}_token") for name in ("bos", "eos", "pad")}
    texts = {name: token.get("content") if isinstance(token, Mapping) else token for name, token in tokens.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def _ids(content: Mapping[str, Any]) -> dict[str, int]:
    """The ids of a `tokenizer.json` by their tokens."""
    vocabulary = (content.get("model") or {}).get("vocab")
    added = {token["content"]: token["id"] for token in content.get("added_tokens", [])}
    # Other kinds of models, which are refused later on, have a list.
    return (vocabulary if isinstance(vocabulary, dict) else {}) | added


def _with_special(text: str, content: Mapping[str, Any], tokens: Iterable[str]) -> str:
    """A `tokenizer.json` in which named tokens of the vocabulary are special, as `transformers` makes them.

    Those that texts are made of stay as they are: some checkpoints pad with "!".
    """
    added, ids = content.get("added_tokens", []), _ids(content)
    made = {"".join(merge).replace(" ", "") for merge in (content.get("model") or {}).get("merges") or ()}
    lacking = {token for token in tokens if token in ids and len(token) > 1} - made
    lacking -= {token["content"] for token in added}
    if not lacking:
        return text
    how = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    more = [{"id": ids[token], "content": token, **how} for token in sorted(lacking)]
    return json.dumps({**content, "added_tokens": [*added, *more]})


def _read_specials(folder: epath.Path, named: Mapping[str, str], ids: Mapping[str, int]) -> Specials:
    """Special ids: by name from the tokenizer's own files, else by number from the model's."""
    models = _read(folder / "config.json") | _read(folder / "generation_config.json")

    def find(name: str) -> int | None:
        number = ids.get(named.get(name, ""), models.get(f"{name}_token_id"))
        return next(iter(number), None) if isinstance(number, list) else number

    eos = find("eos")
    if eos is None:
        raise UserError(f"{folder} names no eos_token: add it to tokenizer_config.json")
    bos, pad = find("bos"), find("pad")
    template, own = folder / "chat_template.jinja", _read(folder / "tokenizer_config.json")
    chat = _read_text(template) if template.exists() else own.get("chat_template")
    if isinstance(chat, list):  # Several, each with a name.
        chat = {entry["name"]: entry["template"] for entry in chat}.get("default")
    return Specials(eos if bos is None else bos, eos, eos if pad is None else pad, chat, bos is not None)


def _read_text(path: epath.Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text ({error}): download it again") from None


def _read(path: epath.Path) -> dict[str, Any]:
    """A JSON object, empty where there is no file."""
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is torn ({error}): download it again") from None
