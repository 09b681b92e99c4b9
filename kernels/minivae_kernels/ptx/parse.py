"""PTX text -> kernels made of instructions.

PTX is the assembly language that CUDA compilers write: one instruction a line,
`@%p1 fma.rn.f32 %f3, %f1, %f2, 0f3F800000;`, over as many registers as one likes.
A call is replaced by the body of what it calls, so that a kernel is one list of
instructions and the machine needs no stack.

Source: NVIDIA, "Parallel Thread Execution ISA", version 9.0, chapters 4 and 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from minivae_kernels.ptx.errors import PtxError

SIZES = {"b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "f16": 2}
SIZES |= {f"{letter}{8 * size}": size for letter in "busf" for size in (4, 8)}
"""The bytes of each type of number."""

IGNORED = re.compile(r'("[^"]*")|//[^\n]*|/\*[\s\S]*?\*/|\.section\s+\S+\s*\{[^}]*\}')
LINES = re.compile(r"^\s*\.(?:loc|file|version|target|address_size)\b[^\n]*", re.M)
HEAD = r"(?:\.\w+\s+)*\.(?:entry|func)\b[^{;]*"
PIECE = re.compile(rf"\s*(?:([{{}}])|([\w$]+)\s*:(?!:)|({HEAD})|([^;]*);)")
FUNCTION = re.compile(r"\.(entry|func)\s*(\([^)]*\))?\s*([\w$]+)\s*(\([^)]*\))?")
CALL = re.compile(
    r"^\s*call\S*\s+(?:(\([^)]*\))\s*,)?\s*([\w$]+)\s*(?:,\s*(\([^)]*\)))?"
)
IDLE = re.compile(r"\.(loc|file|version|target|address_size|pragma)\b")
LOCATION = re.compile(r"\.loc\s+(\d+)\s+([1-9]\d*)")
VARIABLE = re.compile(
    r"\.(global|const|shared|local|param)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+"
    r"(?:\.ptr\s+(?:\.?\w+\s+)*)?([\w$%]+)\s*(?:\[(\d*)\])?\s*(?:=([^;]*))?$"
)
INSTRUCTION = re.compile(r"(?:@(!?)\s*([\w$%.]+)\s+)?([a-z][\w.:]*)\s*([^;]*)$")
OPERAND = re.compile(r"\s*((?:\{[^}]*\}|\[[^\]]*\]|[^,{\[])+)")
NAME = re.compile(r"[%$_a-zA-Z][\w$.]*")
Piece = tuple[
    str, str, str, str
]  # a brace, a label, the head of a function, other text
Callees = dict[str, tuple[str, list["Variable"], list[Piece]]]  # kind, parameters, body


class Instruction(NamedTuple):
    """One instruction: what to do, to what, for which threads, from which line."""

    parts: list[str]  # the opcode, its modifiers and type: ["ld", "global", "f32"]
    operands: list[str]
    guard: str  # the predicate register that says who takes part
    negated: bool
    line: str  # "file.cu:12", where the PTX says so
    text: str


class Variable(NamedTuple):
    """A declared variable: its memory space, type, size in bytes, first values."""

    space: str
    align: int
    type: str
    name: str
    size: int
    values: list[str]


@dataclass
class Function:
    """A kernel, or the module around it."""

    name: str
    params: list[Variable]
    registers: dict[str, str] = field(default_factory=dict)  # name -> type
    variables: list[Variable] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)  # name -> place in the body
    body: list[Instruction] = field(default_factory=list)


def variable(text: str) -> Variable:
    """Read a declaration such as `.shared .align 4 .b8 s[1024]`."""
    found = VARIABLE.search(text.strip())
    if found is None or found[3] not in SIZES:
        raise PtxError(f"cannot read the declaration `{text.strip():.80}`")
    space, align, kind, name, count, values = found.groups()
    size = SIZES[kind] * (1 if count is None else int(count or 0))
    first = (values or "").strip("{} ").replace(",", " ").split()
    return Variable(space, int(align or SIZES[kind]), kind, name, size, first)


def operands(text: str) -> list[str]:
    """Split at the commas that stand outside brackets."""
    return [found[1].strip() for found in OPERAND.finditer(text)]


def renamed(text: str, names: Mapping[str, str]) -> str:
    """Replace names in a text."""
    return NAME.sub(lambda found: names.get(found[0], found[0]), text)


def registers(text: str) -> Iterator[tuple[str, str]]:
    """Read `.reg .b32 %r<9>, %x` as pairs of name and type."""
    kind, names = text.removeprefix(".reg").split(None, 1)
    for name in names.replace(" ", "").split(","):
        base, _, count = name.rstrip(">").partition("<")
        for number in range(int(count)) if count else ("",):
            yield f"{base}{number}", kind.lstrip(".")


def parse(text: str) -> tuple[list[Function], list[Variable]]:
    """Read a module: its kernels, and its variables."""
    text = LINES.sub(lambda m: m[0] + ";", IGNORED.sub(lambda m: m[1] or " ", text))
    files = dict(re.findall(r'\.file\s+(\d+)\s+"([^"]*)"', text))
    functions: Callees = {}
    pieces, depth = list[Piece](), 0
    outside = pieces
    for piece in PIECE.findall(text):
        depth += (piece[0] == "{") - (piece[0] == "}")
        if piece[2]:
            kind, results, name, params = FUNCTION.findall(piece[2])[0]
        elif piece[0] == "{" and depth == 1:
            formal = [
                variable(p) for p in re.split("[(),]", results + params) if p.strip()
            ]
            functions[name] = kind, formal, (pieces := [])
        elif depth or piece[3]:
            (pieces if depth else outside).append(piece)
    if depth or not functions:
        raise PtxError("this is not PTX, or it ends early")
    kernels = [
        read(Function(name, formal), expanded(body, functions), files)
        for name, (kind, formal, body) in functions.items()
        if kind == "entry"
    ]
    return kernels, read(Function("", []), outside, files).variables


def expanded(body: Iterable[Piece], functions: Callees) -> Iterator[Piece]:
    """Replace each call by a block: the callee's body with the caller's variables.

    A function without a body stays a call, which fails by its name if it is reached.
    """
    for piece in body:
        results, name, params = (CALL.findall(piece[3]) or [("", "", "")])[0]
        if name not in functions:
            yield piece
            continue
        given, (_, formal, inner) = (
            re.findall(r"[\w$]+", results + params),
            functions[name],
        )
        names = {v.name: text for v, text in zip(formal, given, strict=True)}
        others = {other: f for other, f in functions.items() if other != name}
        yield "{", "", "", ""
        for brace, label, _, text in expanded(inner, others):
            text = re.sub(r"\bret(\.uni)?\s*$", "bra $return", text)
            yield brace, label, "", renamed(text, names)
        yield from (("", "$return", "", ""), ("}", "", "", ""))


def read(
    function: Function, pieces: Iterable[Piece], files: dict[str, str]
) -> Function:
    """Read declarations and instructions into a function.

    An inner block has names of its own: they are given the number of the block.
    """
    scopes, line = [{"": ""}], ""  # of the open blocks: name -> unique name
    found: list[tuple[dict[str, str], str, str]] = []
    for brace, label, _, text in pieces:
        scope, text = scopes[-1], " ".join(text.split())
        if brace == "{":
            scopes.append({**scope, "": f"{scope['']}.{len(found)}"})
        elif brace:
            scopes.pop()
        elif label:
            scope[label] = label + scope[""]
            function.labels[scope[label]] = len(found)
        elif place := LOCATION.match(text):
            line = f"{files.get(place[1], '?')}:{place[2]}"
        elif text.startswith(".reg"):
            for name, kind in registers(text):
                scope[name] = name + scope[""]
                function.registers[scope[name]] = kind
        elif text[:1] not in ("", "."):
            found.append((scope, line, text))
        elif text and not IDLE.match(text):
            own = variable(text)
            scope[own.name] = own.name + scope[""]
            function.variables.append(own._replace(name=scope[own.name]))
    for names, line, text in (*found, ({}, "", "ret")):
        parts = INSTRUCTION.match(renamed(text, names))
        if parts is None:
            raise PtxError(f"this is not PTX: `{text:.60}`")
        no, guard, opcode, rest = parts.groups("")
        words = [word for word in opcode.split(".") if ":" not in word]
        step = Instruction(words, operands(rest), guard, bool(no), line, text)
        function.body.append(step)
    return function
