"""The collectives of a compiled program, read from its text.

`forecast.py` calls it with `compiled.as_text()`, the program of one device. Four habits of XLA for TPUs are met here:
an asynchronous collective stands in several fusions under one channel, a reduce-scatter is a fusion called
`all-reduce-scatter` around an all-reduce, how often a loop runs stands in its condition only, and the counter of a loop
that was unrolled grows by more than one.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_BITS = {"pred": 8, "bf16": 16}  # The other types end with their number of bits.

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"(?:^|\s)([a-z][a-z\d\-]*)\(")
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+)(?:e\dm\d\w*)?\[([\d,]*)\]")
_CALLED = re.compile(r"\b(calls|condition|body)=%?([\w.\-]+)")


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What the collectives of one kind move.

    Attributes:
      count: how often they run.
      bytes: on each device, of the larger of what an operation takes and gives, over all of them.
    """

    count: int = 0
    bytes: float = 0.0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.count + other.count, self.bytes + other.bytes)

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(self.count - other.count, self.bytes - other.bytes)


@dataclasses.dataclass(frozen=True)
class _Instruction:
    name: str
    type: str
    opcode: str
    arguments: str
    rest: str


def collectives(text: str, steps: int = 0) -> dict[str, Traffic]:
    """The traffic of a program by kind; kinds that do not occur are left out.

    Of the branches of a choice, the one that moves most counts.

    Args:
      text: the optimised HLO of one device.
      steps: how often a loop runs whose end the data decide.
    """
    computations, entry = _parse(text)
    total: dict[str, Traffic] = {}
    for (kind, _), traffic in _walk(computations, entry, steps).items():
        total[kind] = total.get(kind, Traffic()) + traffic
    return total


def _parse(text: str) -> tuple[dict[str, list[_Instruction]], str]:
    computations: dict[str, list[_Instruction]] = {}
    entry = name = ""
    for line in text.splitlines():
        if header := _COMPUTATION.match(line):
            name = header[2]
            entry = name if header[1] else entry
            computations[name] = []
        elif (found := _INSTRUCTION.match(line)) and (opcode := _OPCODE.search(found[2])):
            arguments, _, rest = found[2][opcode.end() :].partition(")")
            computations[name].append(_Instruction(found[1], found[2][: opcode.start()], opcode[1], arguments, rest))
    return computations, entry


def _walk(computations: Mapping[str, list[_Instruction]], name: str, steps: int) -> dict[tuple[str, str], Traffic]:
    """The traffic of a computation and of all that it calls, by kind and channel."""
    found: dict[tuple[str, str], Traffic] = {}

    def take(others: Mapping[tuple[str, str], Traffic], times: int = 1) -> None:
        for key, traffic in others.items():
            whole = Traffic(times * traffic.count, times * traffic.bytes)
            # The parts of an asynchronous collective share its channel: the part that runs most often stands for it.
            if whole.count > found.get(key, Traffic()).count:
                found[key] = whole

    types = {each.name: each.type for each in computations[name]}
    for instruction in computations[name]:
        kind = instruction.opcode.removesuffix("-start")
        if kind in KINDS:
            channel = re.search(r"channel_id=(\d+)", instruction.rest)
            kind = "reduce-scatter" if "all-reduce-scatter" in name else kind
            key = kind, channel[1] if channel else f"{name}/{instruction.name}"
            take({key: Traffic(1, _payload(instruction, types))})
        called = dict(_called(instruction.rest))
        if instruction.opcode == "while":
            take(_walk(computations, called["body"], steps), _trips(instruction, computations, steps))
        elif instruction.opcode == "conditional":
            branches = [_walk(computations, each, steps) for each in _branches(instruction.rest)]
            take(max(branches, key=lambda branch: sum(traffic.bytes for traffic in branch.values())))
        elif "calls" in called:
            take(_walk(computations, called["calls"], steps))
    return found


def _names(instruction: _Instruction) -> list[str]:
    """What it takes."""
    return re.findall(r"%([\w.\-]+)", instruction.arguments)


def _called(rest: str) -> list[tuple[str, str]]:
    return _CALLED.findall(rest)


def _branches(rest: str) -> list[str]:
    found = re.findall(r"(?:branch_computations=\{([^}]*)\}|(?:true|false)_computation=(%?[\w.\-]+))", rest)
    return [name.strip().lstrip("%") for pair in found for name in "".join(pair).split(",")]


def _trips(loop: _Instruction, computations: Mapping[str, list[_Instruction]], steps: int) -> int:
    """How often a loop runs whose condition does no more than compare a counter with a constant; else `steps`."""
    if known := re.search(r'known_trip_count":\{"n":"(\d+)"', loop.rest):
        return int(known[1])
    called = dict(_called(loop.rest))
    condition = list(_with_fusions(computations, called["condition"]))
    bounds = [int(each.arguments) for each in condition if each.opcode == "constant" and each.arguments.isdigit()]
    compared = sum(each.opcode == "compare" for each in condition)
    if not compared == len(bounds) == 1:
        return steps
    return math.ceil(bounds[0] / _stride(condition, computations[called["body"]]))


def _stride(condition: list[_Instruction], body: list[_Instruction]) -> int:
    """What one run of a loop adds to its counter: 2 where XLA has unrolled a loop of its own, else mostly 1."""
    read = [re.search(r"index=(\d+)", each.rest) for each in condition if each.opcode == "get-tuple-element"]
    if len(read) != 1 or read[0] is None or body[-1].opcode != "tuple":
        return 1
    made = {each.name: each for each in body}
    counter = made.get(_names(body[-1])[int(read[0][1])])
    if counter is None or counter.opcode != "add":
        return 1
    added = [made[name].arguments for name in _names(counter) if name in made and made[name].opcode == "constant"]
    return int(added[0]) if len(added) == 1 and added[0].isdigit() else 1


def _with_fusions(computations: Mapping[str, list[_Instruction]], name: str) -> Iterator[_Instruction]:
    for instruction in computations[name]:
        yield instruction
        if called := dict(_called(instruction.rest)).get("calls"):
            yield from _with_fusions(computations, called)


def _payload(instruction: _Instruction, types: Mapping[str, str]) -> float:
    """Bytes of the larger of operands and results; the type of a start lists both."""
    taken = sum(_bytes(types.get(name, "")) for name in _names(instruction))
    given = _bytes(instruction.type) - (taken if instruction.opcode.endswith("-start") else 0)
    return max(taken, given)


def _bytes(type_text: str) -> float:
    total = 0.0
    for name, lengths in _ARRAY.findall(type_text):
        bits = _BITS.get(name) or int(re.search(r"\d+$", name)[0])  # type: ignore[index]
        total += bits / 8 * math.prod(map(int, filter(None, lengths.split(","))))
    return total
