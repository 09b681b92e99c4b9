"""PTX text -> kernels made of instructions.

PTX is the assembly language that CUDA compilers write: one instruction a line,
`@%p1 fma.rn.f32 %f3, %f1, %f2, 0f3F800000;`, over as many registers as one likes.
A call is replaced by the body of what it calls, so that a kernel is one list of
instructions and the machine needs no stack.

Source: NVIDIA, "Parallel Thread Execution ISA", version 9.0, chapters 4 and 5.
"""

from __future__ import annotations

import re
from collections import ChainMap
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from minivae_kernels.ptx.errors import PtxError

SIZES = {"b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "f16": 2}
SIZES |= {f"{letter}{8 * size}": size for letter in "busf" for size in (4, 8)}
"""The bytes of each type of number."""

ALL, BLOCK, THREAD = 0, 1, 2  # whose a variable is: each of these has a copy of its own
SPACES = {"global": ALL, "const": ALL, "shared": BLOCK}
SPACES |= {"param": THREAD, "local": THREAD}

IGNORED = re.compile(r'("[^"]*")|//[^\n]*|/\*[\s\S]*?\*/|\.section\s+\S+\s*\{[^}]*\}')
IDLE = r"\.(?:loc|file|version|target|address_size|pragma)\b"
HEAD = r"(?:\.\w+\s+)*\.(?:entry|func)\b[^{;]*"
PIECE = re.compile(rf"{IDLE}[^\n;]*|{HEAD}|[{{}}]|[\w$]+\s*:(?!:)|[^\s;][^;]*")
FUNCTION = re.compile(r"\.(entry|func)\s*(\([^)]*\))?\s*([\w$]+)\s*(\([^)]*\))?")
CALL = re.compile(r"call\S*\s+(?:(\([^)]*\))\s*,)?\s*([\w$]+)\s*(?:,\s*(\([^)]*\)))?")
VARIABLE = re.compile(
    r"\.(global|const|shared|local|param) (?:\.align (\d+) )?\.(\w+)(?: \.ptr.*)? "
    r"([\w$%]+) ?(?:\[(\d*)\])? ?(?:=(.*))?$"
)
INSTRUCTION = re.compile(r"(?:@(!?[\w$%.]+)\s+)?([a-z][\w.:]*)\s*([^;]*)$")
OPERAND = re.compile(r"\s*((?:\{[^}]*\}|\[[^\]]*\]|[^,{\[])+)")
REGISTERS = re.compile(r"([\w$%]+)(?:<(\d+)>)?")  # %r<9> or %x
LOCATION = re.compile(r"\.loc\s+(\d+)\s+([1-9]\d*)[^\n;]*;?")
NAME = re.compile(r"[%$_a-zA-Z][\w$.]*")
Functions = dict[str, "Function"]
Scope = ChainMap[str, str]  # name -> what it stands for; "" -> the ending of new names


class Instruction(NamedTuple):
    """One instruction: what to do, to what, for which threads, from which line."""

    parts: list[str]  # the opcode, its modifiers and type: ["ld", "global", "f32"]
    operands: list[str]
    guard: str  # the predicate that says who takes part, such as "!%p1"
    line: str  # "file.cu:12", where the PTX says so
    text: str


@dataclass
class Variable:
    """A variable or an array in the memory of a launch."""

    space: str
    align: int  # the least; how far past a page it begins
    type: str
    name: str
    size: int  # in bytes
    content: Any = b""  # its first bytes
    known: bool = True  # False: to read it before it is written is a fault
    writable: bool = True
    copies: int = ALL
    start: int = 0  # its address
    stride: int = 0  # from one copy to the next


@dataclass
class Function:
    """A function, or the module around all: read only if it is a kernel."""

    kind: str  # "entry" or "func"
    name: str
    params: list[Variable]  # of a function: results first
    pieces: list[str] = field(default_factory=list)
    registers: set[str] = field(default_factory=set)
    variables: list[Variable] = field(default_factory=list)
    draft: list[tuple[Scope, str, str]] = field(default_factory=list)
    body: list[Instruction] = field(default_factory=list)


def variable(text: str) -> Variable:
    """Read a declaration such as `.shared .align 4 .b8 s[1024]`."""
    found = VARIABLE.search(" ".join(text.split()))
    if found is None or found[3] not in SIZES:
        raise PtxError(f"cannot read the declaration `{text:.80}`")
    space, align, kind, name, count, values = found.groups("")
    item, copies = SIZES[kind], SPACES[space]
    size = item * int(count or found[5] is None)
    words = (number(word) % 256**item for word in re.findall(r"[-\w]+", values))
    content = b"".join(word.to_bytes(item, "little") for word in words)
    content = content.ljust(size * (copies == ALL), b"\0")
    return Variable(space, int(align or item), kind, name, size, content, copies=copies)


def number(text: str) -> int:
    """Read `-4`, `0x1F`, `7U`, or the bits of a float, `0f3F800000`."""
    return int(re.sub("^0[fdFD]", "0x", text.rstrip("U")), 0)


def instruction(names: Scope, line: str, text: str) -> Instruction:
    """Read an instruction; its names are replaced by what they stand for."""
    own = NAME.sub(lambda found: names.get(found[0], found[0]), text)
    if (parts := INSTRUCTION.match(own)) is None:
        raise PtxError(f"this is not PTX: `{text:.60}`")
    guard, opcode, rest = parts.groups("")
    words = [word for word in opcode.split(".") if ":" not in word]
    operands = [found[1].strip() for found in OPERAND.finditer(rest)]
    return Instruction(words, operands, guard, line, text)


def parse(text: str) -> list[Function]:
    """Read the kernels of a module; raises `PtxError` where it is not PTX."""
    text = IGNORED.sub(lambda found: found[1] or " ", text)
    files = dict(re.findall(r'\.file\s+(\d+)\s+"([^"]*)"', text))
    text = LOCATION.sub(lambda at: f".loc {files.get(at[1], '?')}:{at[2]}\n", text)
    module, functions, depth = Function("", "", []), Functions(), 0
    for piece in PIECE.findall(text):
        depth += (piece == "{") - (piece == "}")
        if head := FUNCTION.search(piece):
            kind, results, name, params = head.groups("")
            formal = [*map(variable, re.findall(r"\.param[^,)]*", results + params))]
            functions[name] = Function(kind, name, formal)
        else:
            (functions[name] if depth > (piece == "{") else module).pieces.append(piece)
    if depth or not functions:
        raise PtxError("this is not PTX, or it ends early")
    kernels = [f for f in functions.values() if f.kind == "entry"]
    read(module, module, functions, Scope({"": ""}))
    for f in kernels:
        read(f, f, functions, Scope({"": ""}))
        f.body = [instruction(*each) for each in (*f.draft, (Scope(), "", "ret"))]
        f.variables += module.variables
    return kernels


def read(into: Function, given: Function, functions: Functions, scope: Scope) -> None:
    """Read the declarations and instructions of a function into a kernel.

    An inner block has names of its own. A function without a body stays a call, which
    fails by its name if it is reached.
    """
    scopes, line = [scope], ""
    for text in (" ".join(piece.split()) for piece in given.pieces):
        scope, call, here = scopes[-1], CALL.match(text), len(into.draft)
        inner = f"{scope['']}.{here}"
        if text == "{":
            scopes.append(scope.new_child({"": inner}))
        elif text == "}":
            scopes.pop()
        elif text[-1] == ":":
            scope[text[:-1]] = str(here)
        elif text.startswith(".reg"):
            for base, count in REGISTERS.findall(text.split(None, 2)[2]):
                numbers = range(int(count)) if count else [""]
                into.registers |= {own(scope, f"{base}{number}") for number in numbers}
        elif text.startswith(".loc "):
            line = text.removeprefix(".loc ") if ":" in text else line
        elif text[0] == "." and not re.match(IDLE, text):
            into.variables.append(v := variable(text))
            v.name = own(scope, v.name)
        elif call and (called := functions.get(call[2])) and called.pieces:
            actual = re.findall(r"[\w$]+", "".join(call.groups("")[::2]))
            pairs = zip(called.params, actual, strict=True)
            names = Scope({v.name: scope[name] for v, name in pairs} | {"": inner})
            others = {name: f for name, f in functions.items() if f is not called}
            read(into, called, others, names)
            names |= dict.fromkeys(("ret", "ret.uni"), f"bra {len(into.draft)}")
        elif text[0] != ".":
            into.draft.append((scope, line, text))


def own(scope: Scope, name: str) -> str:
    """Enter a declared name; return the name that is unique in the kernel."""
    scope[name] = name + scope[""]
    return scope[name]
