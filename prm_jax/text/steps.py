r"""What a step is: any text in, its steps out, as byte offsets.

A *step* is one logical line of Python: a statement or the header of a compound statement; `else:` and
decorators are steps, `a; b` and `if x: return y` are one. A comment on a line of its own and a blank line are
steps too, but neutral. The end of the program is the last step, so that stopping too early has a place for its
label. Labelling, the tasks, PPO and the report all cut programs here.

The scan is our own because `tokenize` raises on broken text and differs between Python versions. It knows
brackets, quotes, comments and backslashes and nothing else of the grammar, so that it is defined for every
string and **closed steps of a prefix never change as text is added**:

- a logical line ends at a newline (`\\n`, `\\r\\n` or `\\r`, as Python's own compiler counts lines) outside brackets,
  outside a triple-quoted string and not behind a backslash;
- a bracket that is never closed keeps its step open up to the end of the text; one that was never opened is
  passed over;
- a string in single quotes that is not closed ends with its physical line;
- an f-string is scanned as any other string; the nested quotes that Python 3.12 allows come out right as long
  as they stay within one physical line.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import re
import sys
from collections.abc import Iterator, Sequence

_SPECIAL = re.compile(r"\"\"\"|'''|[\"'#\\()\[\]{}]|\r\n|\n|\r(?=.)", re.DOTALL)
_NEWLINE = re.compile(r"\r\n|\r|\n")
_OPTIONAL_NEWLINE = re.compile(r"(?:\r\n|\r|\n)?")
_LINE_REST = re.compile(r"[^\r\n]*")
_STRING_BODY = {
    '"': re.compile(r'(?:[^"\\\r\n]|\\(?:\r\n|.))*', re.DOTALL),
    "'": re.compile(r"(?:[^'\\\r\n]|\\(?:\r\n|.))*", re.DOTALL),
    '"""': re.compile(r'(?:[^"\\]|"(?!"")|\\.)*', re.DOTALL),
    "'''": re.compile(r"(?:[^'\\]|'(?!'')|\\.)*", re.DOTALL),
}
_STRING_STATEMENT = re.compile(
    r"[rRuU]?(?:" + "|".join(quote + body.pattern + quote for quote, body in reversed(_STRING_BODY.items())) + ")",
    re.DOTALL,
)
_DEFINITION = re.compile(r"(?:async[ \t\f]+)?(?:def|class)\b")
_SPACE = " \t\f\r\n"

NEUTRAL_KINDS = ("comment", "blank", "docstring")


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a program.

    Attributes:
      start: byte offset of the first byte in the UTF-8 text.
      end: byte offset after the last byte, the closing newline included.
      line: 1-based first physical line.
      last_line: 1-based last physical line.
      kind: `"code"`, `"comment"`, `"blank"`, `"docstring"` or, for the end of the program, `"end"`.
      closed: whether the newline that closes the step is there. What is not closed may still change when text is
        added; the end of the program is never closed by text, only by an `eos` token.
    """

    start: int
    end: int
    line: int
    last_line: int
    kind: str
    closed: bool = True

    @property
    def neutral(self) -> bool:
        """Whether the step has no say in whether the program is right: a comment, a blank line, a docstring."""
        return self.kind in NEUTRAL_KINDS


def split_steps(text: str) -> tuple[Step, ...]:
    """Cuts a text into steps that tile it, followed by the step of kind `"end"`.

    Args:
      text: any string; broken programs, and none at all, are welcome.

    Returns:
      At least one step. A last line without its newline is a step of its own, not closed, that ends with the text.
      A docstring is a statement of a single string literal that comes first in the module, at column 0, or first
      and indented after a `def` or `class` header.
    """
    steps: list[Step] = []
    line, byte = 1, 0
    docstring_indents = range(1)  # The indents at which the next statement would be a docstring.
    for start, end, code_end, closed in _logical_lines(text):
        code = text[start:code_end]
        body = code.strip(_SPACE)
        indent = len(code) - len(code.lstrip(_SPACE))
        kind = "code"
        if not body:
            kind = "comment" if text.startswith("#", code_end) else "blank"
        elif indent in docstring_indents and _STRING_STATEMENT.fullmatch(body):
            kind = "docstring"
        if body:
            is_header = body.endswith(":") and _DEFINITION.match(body)
            docstring_indents = range(indent + 1, sys.maxsize) if is_header else range(0)
        chunk = text[start:end]
        last_line = line + len(_NEWLINE.findall(chunk)) - (chunk[-1] in "\r\n")
        byte_end = byte + (len(chunk) if chunk.isascii() else len(chunk.encode("utf-8", "surrogatepass")))
        steps.append(Step(byte, byte_end, line, last_line, kind, closed))
        line, byte = last_line + 1, byte_end
    steps.append(Step(byte, byte, line, line, "end", closed=False))
    return tuple(steps)


def step_of_line(steps: Sequence[Step], line: int) -> int:
    """The index of the step that holds a physical line.

    Args:
      steps: what `split_steps` gave.
      line: 1-based. A line behind the last one belongs to the end of the program, where Python reports what it
        misses at the end of a file.
    """
    return max(0, bisect.bisect_right(steps, line, key=lambda step: step.line) - 1)


def _logical_lines(text: str) -> Iterator[tuple[int, int, int, bool]]:
    """Yields `(start, end, code_end, closed)` in characters; `code_end` is where a trailing comment begins."""
    start = position = depth = 0
    comment: int | None = None
    while found := _SPECIAL.search(text, position):
        mark, position = found.group(), found.end()
        if mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth = max(depth - 1, 0)
        elif mark == "#":
            if depth == 0:
                comment = found.start()
            position = _end_of(_LINE_REST, text, position)
        elif mark == "\\":
            position = _end_of(_OPTIONAL_NEWLINE, text, position)
        elif mark in _STRING_BODY:
            position = _end_of_string(text, position, mark)
        elif depth == 0:
            yield start, position, found.start() if comment is None else comment, True
            start, comment = position, None
    if start < len(text):
        yield start, len(text), len(text) if comment is None else comment, False


def _end_of_string(text: str, position: int, quote: str) -> int:
    """Where the string whose opening quote ends at `position` is over: behind its quote, or where it breaks off."""
    position = _end_of(_STRING_BODY[quote], text, position)
    if text.startswith(quote, position):
        return position + len(quote)
    return position if text[position : position + 1] in ("\r", "\n") else len(text)


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    """Where a pattern that also matches nothing stops."""
    found = pattern.match(text, position)
    return found.end() if found else position


def check_step_ends(text: str, step_ends: Sequence[int]) -> tuple[Step, ...]:
    """Cuts a text and makes sure that labels stored with it were given to the same steps.

    Args:
      text: the program.
      step_ends: the byte offsets stored with its labels.

    Raises:
      ValueError: where the offsets are not those of the text.
    """
    steps = split_steps(text)
    if any(a != b for a, b in itertools.zip_longest((step.end for step in steps), step_ends)):
        raise ValueError(f"step ends {list(step_ends)} are not those of the text, {[step.end for step in steps]}")
    return steps
