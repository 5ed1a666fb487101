"""The first wrong step of a failing program, from its trace and the reference's on the same tests.

`label.py` calls `first_wrong_step` on a policy's own programs; PPO's exact arm takes the result as a reward.

The reference's trace gives *milestones*: the values that each top-level statement of its function newly set, in
order, and last of all the value returned. The candidate's top-level statements are held against them. A statement
*agrees* where a value it set is that of a milestone not yet passed, or of the latest one reached, so that names
and surface forms do not matter. A statement that binds a constant, or a loop's own variable, decides nothing.
Behind the last agreeing statement the state never agrees again: the next statement that changes it is wrong.
Inside a wrong loop or branch the last simple statement that changed the state carries the blame, and the other
steps of the block stay open (neutral).
"""

from __future__ import annotations

import ast
import dataclasses

from prm_jax.execution.verdict import CallTrace, Outcome, TraceEvent, Verdict
from prm_jax.text.steps import Step, split_steps, step_of_line

RETURN = "return"
OPAQUE = "?"
_COMPOUND = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.Match)
_EXITS = (ast.Return, ast.Raise)
_FACTORIES = frozenset({"list", "dict", "set", "tuple", "str", "int", "float", "bool"})


@dataclasses.dataclass(frozen=True)
class FirstError:
    """Where a program went wrong.

    Attributes:
      step: index of the first wrong step; -1 where the program passed or none was found.
      neutral: steps about which nothing is known.
      method: `"trace"`, or `"diagnostics"` where Python itself names the step.
    """

    step: int
    neutral: frozenset[int] = frozenset()
    method: str = "trace"


def first_wrong_step(candidate_text: str, candidate: Verdict, reference_text: str, reference: Verdict) -> FirstError:
    """The first step after which the candidate can no longer agree with the reference.

    Args:
      candidate_text: the program judged.
      candidate: its verdict, traced.
      reference_text: a program that passes.
      reference: its verdict on the same tests, traced.

    Returns:
      The earliest wrong step over the tests that the candidate failed.
    """
    steps = split_steps(candidate_text)
    everything = frozenset(range(len(steps)))
    if candidate.outcome is Outcome.PASSED:
        return FirstError(-1)
    if candidate.outcome in (Outcome.UNKNOWN, Outcome.MEMORY, Outcome.KILLED):
        return FirstError(-1, everything)
    if _names_its_step(candidate):
        return FirstError(step_of_line(steps, candidate.line or 1), method="diagnostics")
    try:
        layout, reference_layout = _Layout(candidate_text, steps), _Layout(reference_text, ())
    except (SyntaxError, ValueError, RecursionError):
        return FirstError(-1, everything)
    tests = zip(candidate.passed, candidate.traces, reference.traces, strict=False)
    found = [
        _Comparison(layout, trace, candidate).judge(_milestones(reference_layout, expected))
        for passed, trace, expected in tests
        if not passed and trace is not None and expected is not None and expected.complete
    ]
    wrong = [error for error in found if error.step >= 0]
    if not wrong:
        return FirstError(-1, everything)
    first = min(wrong, key=lambda error: error.step)
    blocks = [error.neutral for error in found if error.step < 0 and error.neutral != everything]
    undecided = frozenset[int]().union(*blocks)
    return FirstError(first.step, (first.neutral | undecided) - {first.step}, first.method)


def _names_its_step(verdict: Verdict) -> bool:
    """Whether Python names the step: a syntax error, an unknown name, or a program that fails before any call."""
    if verdict.line is None:
        return False
    before_any_call = verdict.outcome is Outcome.RUNTIME_ERROR and not any(verdict.traces)
    unknown_name = (verdict.exception or "").startswith(("NameError", "UnboundLocalError"))
    return verdict.outcome is Outcome.SYNTAX_ERROR or unknown_name or before_any_call


class _Layout:
    """Which statement each line of a program belongs to."""

    def __init__(self, text: str, steps: tuple[Step, ...]) -> None:
        self.steps = steps
        self.top: dict[int, ast.stmt] = {}
        self.inner: dict[int, ast.stmt] = {}
        self.function: dict[int, ast.stmt] = {}
        for definition in ast.parse(text).body:
            if isinstance(definition, ast.FunctionDef):
                for statement in definition.body:
                    self.top |= dict.fromkeys(_lines(statement), statement)
                    self.function |= dict.fromkeys(_lines(statement), definition)
                    for node in ast.walk(statement):  # Breadth first: the innermost statement comes last.
                        if isinstance(node, ast.stmt):
                            self.inner |= dict.fromkeys(_lines(node), node)
                        if isinstance(node, ast.FunctionDef):
                            self.function |= dict.fromkeys(_lines(node)[1:], node)

    def step(self, line: int) -> int:
        return step_of_line(self.steps, line)

    def block(self, statement: ast.stmt) -> frozenset[int]:
        return frozenset(self.step(line) for line in _lines(statement))


def _lines(statement: ast.stmt) -> range:
    return range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)


@dataclasses.dataclass
class _Group:
    """What one execution of a top-level statement did.

    Attributes:
      statement: the statement.
      events: its own events, depth 0.
      values: the values that it newly set, loop variables and opaque ones left out.
      changed: whether it set anything at all, opaque values included.
      returned: the value returned, where the statement holds the `return` that ran.
      calls: lines executed in functions called from it.
    """

    statement: ast.stmt
    events: list[TraceEvent] = dataclasses.field(default_factory=list)
    values: frozenset[str] = frozenset()
    changed: bool = False
    returned: str | None = None
    calls: set[int] = dataclasses.field(default_factory=set)

    @property
    def undecided(self) -> bool:
        """Whether the statement binds a constant only."""
        value = getattr(self.statement, "value", None)
        return isinstance(self.statement, ast.Assign | ast.AnnAssign) and (value is None or _is_constant(value))


def _is_constant(value: ast.expr) -> bool:
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in _FACTORIES:
        return not value.args and not value.keywords
    return not any(isinstance(node, ast.Name | ast.Call) for node in ast.walk(value))


def _groups(layout: _Layout, trace: CallTrace) -> list[_Group]:
    """The trace as executions of top-level statements, in order."""
    groups: list[_Group] = []
    calls: set[int] = set()
    for event in trace.events:
        if event.depth > 0:
            calls.add(event.line)  # The line that makes a call has its event behind those of the function called.
        elif event.line in layout.top:
            statement = layout.top[event.line]
            if not groups or groups[-1].statement is not statement:
                groups.append(_Group(statement))
            groups[-1].events.append(event)
            groups[-1].calls |= calls
            calls = set()
    if groups:
        groups[-1].calls |= calls
    state: dict[str, str] = {}
    for group in groups:
        _settle(layout, group, state)
    return groups


def _settle(layout: _Layout, group: _Group, state: dict[str, str]) -> None:
    """Fills in what a group changed, against the state before it, and updates the state."""
    loops = [node for node in ast.walk(group.statement) if isinstance(node, ast.For)]
    own = {name.id for loop in loops for name in ast.walk(loop.target) if isinstance(name, ast.Name)}
    after: dict[str, str] = {}
    for event in group.events:
        for name, value in event.changed:
            if name != RETURN:
                after[name] = value
            elif isinstance(layout.inner.get(event.line), ast.Return):
                group.returned = value
    net = {name: value for name, value in after.items() if name not in own and state.get(name, "") != value}
    group.changed = bool(net)
    group.values = frozenset(net.values()) - {OPAQUE}
    state.update(after)


@dataclasses.dataclass(frozen=True)
class _Milestones:
    """What the reference reached: values in order, the value returned last; the values its helpers returned."""

    values: list[frozenset[str]]
    returned: str
    helpers: list[str]


def _returned(trace: CallTrace, depth: int) -> list[str]:
    return [value for event in trace.events if event.depth == depth for name, value in event.changed if name == RETURN]


def _milestones(layout: _Layout, trace: CallTrace) -> _Milestones:
    groups = _groups(layout, trace)
    values = [group.values for group in groups if group.values and not group.undecided]
    returned = (_returned(trace, 0) or ["None"])[-1]
    return _Milestones([*values, frozenset({returned})], returned, _returned(trace, 1))


class _Comparison:
    """One failing call of the candidate, held against the reference's milestones."""

    def __init__(self, layout: _Layout, trace: CallTrace, verdict: Verdict) -> None:
        self.layout = layout
        self.trace = trace
        self.groups = _groups(layout, trace)
        self.everything = FirstError(-1, frozenset(range(len(layout.steps))))
        self.finished = bool(_returned(trace, 0))
        self.recursed_too_deep = (verdict.exception or "").startswith("RecursionError")
        self.timed_out = verdict.outcome is Outcome.TIMEOUT

    def judge(self, milestones: _Milestones) -> FirstError:
        """The first wrong step of this call."""
        if not self.groups or self.recursed_too_deep or not (self.trace.complete or self.timed_out):
            return self.everything
        last, reached = self._last_agreement(milestones)
        rest = self.groups[last + 1 :]
        suspect = next((group for group in rest if self._changes_state(group)), None)
        if not self.finished:
            ended = self.groups[-1]
            if suspect is None or suspect is ended:
                return self._loop_that_ran(ended) if self.timed_out else self._raised(ended)
            return self._blame(suspect, milestones)
        idle = [group for group in rest[: rest.index(suspect) if suspect else None] if self._is_idle_block(group)]
        if suspect is None:
            block = self.layout.block(idle[-1].statement) if idle else frozenset()
            return FirstError(len(self.layout.steps) - 1, block) if self._fell_off(milestones) else self.everything
        if idle and isinstance(suspect.statement, ast.Return):
            if reached < len(milestones.values) - 1:
                return self._blame(idle[-1], milestones)
            return FirstError(-1, self.layout.block(idle[-1].statement) | self.layout.block(suspect.statement))
        return self._blame(suspect, milestones)

    def _last_agreement(self, milestones: _Milestones) -> tuple[int, int]:
        """Index of the last group that agrees (-1: none) and the number of milestones reached."""
        last, reached = -1, 0
        for i, group in enumerate(self.groups):
            if group.returned is not None:
                if group.returned == milestones.returned:
                    last = i
            elif not group.undecided:
                start = max(reached - 1, 0)
                for j, values in enumerate(milestones.values[start:], start):
                    if values & group.values:
                        last, reached = i, j + 1
                        break
        return last, reached

    def _changes_state(self, group: _Group) -> bool:
        """Whether a group can be held against the reference; one that set opaque values only cannot."""
        return group.returned is not None or (bool(group.values) and not group.undecided)

    def _is_idle_block(self, group: _Group) -> bool:
        """Whether a loop or branch did nothing; one that only guards (`if …: return`) is meant to."""
        statement = group.statement
        if not isinstance(statement, _COMPOUND) or group.changed or group.returned is not None:
            return False
        if isinstance(statement, ast.Match):
            return not all(isinstance(case.body[-1], _EXITS) for case in statement.cases)
        return not (isinstance(statement, ast.If) and isinstance(statement.body[-1], _EXITS))

    def _fell_off(self, milestones: _Milestones) -> bool:
        """Whether the function ended without a `return` where the reference returned something."""
        return self.groups[-1].returned is None and milestones.returned != "None"

    def _blame(self, group: _Group, milestones: _Milestones) -> FirstError:
        """The wrong step within a wrong top-level statement."""
        block = self.layout.block(group.statement)
        if group.calls and not self._helpers_agree(milestones):
            return self.everything
        line = self._last_change(group)
        if line is None:
            lines = [event.line for event in reversed(group.events)]
            line = max(lines, key=lambda at: self.layout.inner[at].col_offset)
        step = self.layout.step(line)
        return FirstError(step, block - {step})

    def _last_change(self, group: _Group) -> int | None:
        """The last line of a group on which a simple statement changed the state."""
        if not isinstance(group.statement, _COMPOUND):
            return group.statement.lineno
        for event in reversed(group.events):
            if event.changed and not isinstance(self.layout.inner[event.line], _COMPOUND):
                return event.line
        return None

    def _helpers_agree(self, milestones: _Milestones) -> bool:
        """Whether all functions called returned what the reference's did, so that the blame is not theirs."""
        functions = {id(self.layout.function.get(line)) for group in self.groups for line in group.calls}
        own = {id(self.layout.function.get(event.line)) for group in self.groups for event in group.events}
        mine = _returned(self.trace, 1)
        return not functions & own and bool(mine) and mine == milestones.helpers[: len(mine)]

    def _raised(self, group: _Group) -> FirstError:
        """The step of the line that raised, in the innermost function that the exception left."""
        raised = self.trace.events[-1]
        for event in reversed(self.trace.events[:-1]):
            if event.depth != raised.depth + 1 or any(name == RETURN for name, _ in event.changed):
                break
            raised = event
        step = self.layout.step(raised.line)
        return FirstError(step, self.layout.block(group.statement) - {step})

    def _loop_that_ran(self, group: _Group) -> FirstError:
        """The header of the innermost loop that was running when the time was over."""
        line = group.events[-1].line
        loops = [
            node for node in ast.walk(group.statement) if isinstance(node, ast.For | ast.While) and line in _lines(node)
        ]
        if not loops or group.calls:
            return self.everything
        step = self.layout.step(max(loop.lineno for loop in loops))
        return FirstError(step, self.layout.block(group.statement) - {step})
