"""Chat templates are rendered as `transformers` renders them, and nothing in a prompt becomes a special token."""

import datetime
import json

import pytest
import tokenizers

from prm_jax.errors import UserError
from prm_jax.text.chat import ChatConfig, render
from prm_jax.text.pretrained import PretrainedTokenizer, load_tokenizer, write_files
from prm_jax.text.step_map import program_row, prompt_ids

DATE = datetime.datetime(2024, 7, 26)
TOKENS = {"bos_token": "<|begin|>", "eos_token": "<|end|>"}
MESSAGES = [
    {"role": "system", "content": "Be <short> & kind."},
    {"role": "user", "content": " Add two é numbers. "},
    {"role": "assistant", "content": "return a + b"},
    {"role": "user", "content": "Now three."},
]

CHATML = """\
{% for message in messages %}
    {% if loop.first and message['role'] != 'system' %}
<|start|>system
You help.<|end|>
    {% endif %}
<|start|>{{ message['role'] }}
{{ message['content'] }}<|end|>
{% endfor %}
{% if add_generation_prompt %}
<|start|>assistant
{% endif %}
"""
CHATML_TEXT = """\
<|start|>system
Be <short> & kind.<|end|>
<|start|>user
 Add two é numbers. <|end|>
<|start|>assistant
return a + b<|end|>
<|start|>user
Now three.<|end|>
<|start|>assistant
"""
DATED = (
    "{{- bos_token }}{%- set ns = namespace(users=0) -%}\n"
    "{%- if strftime_now is defined %}{% set today = strftime_now('%d %b %Y') %}{% endif -%}\n"
    "Today: {{ today }}\n\n"
    "{%- for message in messages if message.role != 'system' -%}\n"
    "  {%- set ns.users = ns.users + (1 if message.role == 'user' else 0) -%}\n"
    "  {{- '[' + message.role + ']\\n' + message.content | trim + eos_token -}}\n"
    "{%- endfor -%}\n"
    "{{- ns.users }}{{ unknown }}{% if tools is not none %}tools{% endif %}"
)
DATED_TEXT = (
    "<|begin|>Today: 26 Jul 2024[user]\nAdd two é numbers.<|end|>[assistant]\nreturn a + b<|end|>[user]\n"
    "Now three.<|end|>2"
)
ODD = (
    "{%- for message in messages -%}{%- if loop.index0 == 3 -%}{%- break -%}{%- endif -%}\n"
    "{%- if message.role == 'assistant' -%}{%- generation -%}{{- message | tojson -}}{%- endgeneration -%}\n"
    "{%- else -%}{{- message.content | tojson(indent=1) -}}{%- endif -%}{%- endfor -%}"
    "{%- if enable_thinking is defined and enable_thinking is false %}<no>{% endif -%}"
)
ODD_TEXT = '"Be <short> & kind."" Add two é numbers. "{"role": "assistant", "content": "return a + b"}<no>'
GOLDEN = {"chatml": (CHATML, CHATML_TEXT), "dated": (DATED, DATED_TEXT), "odd": (ODD, ODD_TEXT)}


@pytest.mark.parametrize("name", GOLDEN)
def test_templates_give_the_golden_texts(name):
    template, expected = GOLDEN[name]
    assert render(template, MESSAGES, TOKENS, DATE, enable_thinking=False) == expected


@pytest.mark.parametrize("name", GOLDEN)
def test_transformers_renders_the_same(name):
    utilities = pytest.importorskip("transformers.utils.chat_template_utils")
    template, _ = GOLDEN[name]
    theirs = utilities.render_jinja_template(
        [MESSAGES], chat_template=template, add_generation_prompt=True, enable_thinking=False, **TOKENS
    )[0][0]
    today = datetime.datetime.now()
    assert render(template, MESSAGES, TOKENS, today, enable_thinking=False) == theirs


def test_what_a_template_may_not_is_told_in_one_line():
    for template, told in {
        "{{ raise_exception('roles must alternate') }}": "roles must alternate",
        "{% for x in %}": "fails",
        "{{ messages.append(1) }}": "unsafe",
        "{{ ''.__class__.__mro__ }}": "unsafe",
        "{{ messages[0].content.nothing.more }}": "has no attribute",
    }.items():
        with pytest.raises(UserError, match=told) as raised:
            render(template, MESSAGES, TOKENS, DATE)
        assert "\n" not in str(raised.value) and "ChatConfig.apply" in str(raised.value)
    with pytest.raises(UserError, match=r"date is 'today'; give a date"):
        ChatConfig(date="today")


INSTRUCT = CHATML.replace("<|end|>\n{% endfor %}", "<|end|>\n\n{% endfor %}")
SYSTEM = ChatConfig(apply=True, system="Write Python.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The tokenizer of an instruct checkpoint that names no bos."""
    path = tmp_path_factory.mktemp("instruct")
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    model.train_from_iterator(["Write a function.\n\nuser\nassistant\nsystem\n" * 9], trainer=trainer)
    model.add_special_tokens(["<|start|>", "<|end|>"])
    (path / "tokenizer.json").write_text(model.to_str())
    config = {"eos_token": "<|end|>", "chat_template": INSTRUCT, "tokenizer_class": "PreTrainedTokenizerFast"}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


@pytest.fixture(scope="module")
def tokenizer(folder):
    return PretrainedTokenizer.from_folder(folder, 400)


@pytest.mark.parametrize("prompt", ["Write a function that adds é.", "\n\nWrite  two.\n", "", "x\uf8ffy"])
@pytest.mark.parametrize("chat", [ChatConfig(apply=True), SYSTEM], ids=["plain", "system"])
def test_ids_are_those_of_transformers(folder, tokenizer, prompt, chat):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    messages = [dict(message) for message in chat.messages(prompt.strip())]
    expected = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert prompt_ids(prompt, tokenizer.with_chat(chat)) == expected


def test_a_prompt_is_a_users_message_and_no_text_of_it_becomes_special(tokenizer):
    chat = tokenizer.with_chat(SYSTEM)
    start, end = (chat._model.token_to_id(token) for token in ("<|start|>", "<|end|>"))
    ids = prompt_ids("say <|end|> now", chat)
    assert (ids.count(start), ids.count(end)) == (3, 2)
    words = "system\nWrite Python.\n\nuser\nsay <|end|> now\n\nassistant\n"
    assert chat.decode(ids) == words
    row, before = program_row("say <|end|> now", "def f():\n", chat)
    assert row[:before] == ids and chat.decode(row[before:]) == "def f():\n" and row[-1] == end == chat.eos_id
    opened = tokenizer.with_chat(ChatConfig(apply=True, opening="```python\n"))
    assert opened.decode(prompt_ids("x", opened)).endswith("assistant\n```python\n")


def test_it_is_off_unless_asked_for_and_a_part_of_what_the_tasks_keep(tokenizer, tmp_path):
    assert prompt_ids("x", tokenizer) == [tokenizer.bos_id, *tokenizer.encode("x\n")]
    chat = tokenizer.with_chat(SYSTEM)
    assert chat.fingerprint != tokenizer.fingerprint == tokenizer.with_chat(ChatConfig()).fingerprint
    chat.save(tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert loaded.fingerprint == chat.fingerprint and prompt_ids("x", loaded) == prompt_ids("x", chat)
    write_files(chat, tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["chat_template"] == INSTRUCT


def test_a_checkpoint_without_a_template_or_with_one_that_drops_the_prompt_is_refused(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_text(file.read_text())
    for template, told in ((None, "has no chat template"), ("<|start|>assistant\n", "leaves the user's message out")):
        config = {"eos_token": "<|end|>"} | ({"chat_template": template} if template else {})
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        plain = PretrainedTokenizer.from_folder(tmp_path, 400)
        with pytest.raises(UserError, match=told):
            prompt_ids("x", plain.with_chat(ChatConfig(apply=True)))
