"""Chat templates: the Jinja text that came with a checkpoint, and messages in; the text of a prompt out.

A template is rendered as `transformers` does it, in Jinja's sandbox. `pretrained.py` turns what is rendered into ids.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from prm_jax.errors import UserError

Message = Mapping[str, str]
"""`{"role": "system", "user" or "assistant", "content": text}`."""


@dataclasses.dataclass(frozen=True)
class ChatConfig:
    """How the prompts of an instruct checkpoint are written.

    Attributes:
      apply: whether a problem is a user's message, rendered by the checkpoint's template. False: prompts are as those
        of every other model, without a template.
      system: the message of the system before it; empty for none, which leaves the template's own where it has one.
      opening: text that the assistant's answer begins with and need not write, for example a fence and a newline.
      date: what a template that asks for today is told, so that a run can be repeated; ISO 8601.
    """

    apply: bool = False
    system: str = ""
    opening: str = ""
    date: str = "2024-07-26"

    def __post_init__(self) -> None:
        try:
            datetime.datetime.fromisoformat(self.date)
        except ValueError:
            raise UserError(f"ChatConfig.date is {self.date!r}; give a date such as 2024-07-26") from None

    def messages(self, prompt: str) -> list[Message]:
        """A problem as messages."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": prompt}]


def render(
    template: str,
    messages: Sequence[Message],
    tokens: Mapping[str, str],
    date: datetime.datetime,
    *,
    add_generation_prompt: bool = True,
    **variables: Any,
) -> str:
    """What a chat template makes of messages.

    Args:
      template: the template.
      messages: the messages, first to last.
      tokens: texts of special tokens by the names that templates know them by: `bos_token`, `eos_token`, ….
      date: what `strftime_now` formats.
      add_generation_prompt: whether the head of the assistant's answer follows.
      **variables: further variables of the template, such as `enable_thinking`.

    Raises:
      UserError: the template is not Jinja, leaves the sandbox, or refuses the messages.
    """
    try:
        return _compiled(template).render(
            messages=[dict(message) for message in messages],
            tools=None,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            strftime_now=date.strftime,
            **tokens,
            **variables,
        )
    except (jinja2.TemplateError, TypeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise UserError(f"the checkpoint's chat template fails ({why}): set ChatConfig.apply = False") from error


class _Generation(jinja2.ext.Extension):
    """`{% generation %}`, which marks the assistant's words: what is inside is rendered as if it were not there."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        """The nodes inside."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@functools.cache
def _compiled(template: str) -> jinja2.Template:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    return environment.from_string(template)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own escapes what HTML has a meaning for.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)
