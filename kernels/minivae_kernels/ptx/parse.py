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

SIZES = {f"{c}{8 * n}": n for c in "busf" for n in (1, 2, 4, 8) if (c, n) != ("f", 1)}
"""The bytes of each type of number."""

ALL, BLOCK, WARP, THREAD = range(4)  # whose a variable is
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
OPERAND = re.compile(r"[^][{}|, ]+")
REGISTERS = re.compile(r"([\w$%]+)(?:<(\d+)>)?")  # %r<9> or %x
LOCATION = re.compile(r"\.loc\s+(\d+)\s+([1-9]\d*)[^\n;]*;?")
NAME = re.compile(r"[%$_a-zA-Z][\w$.]*")
RETURN = re.compile(r"(?<!\S)ret(\.uni)?\s*$")
Scope = ChainMap[str, str]  # name -> what it stands for; "" -> the ending of new names


class Step(NamedTuple):
    """An instruction in its place: what to do, to what, for which threads."""

    parts: list[str]  # the opcode, its modifiers and type: ["ld", "global", "f32"]
    operands: list[str]
    width: int  # how many make up the first operand: four of a vector of four
    guard: str  # the predicate that says who takes part, such as "!%p1"
    line: str  # "file.cu:12", where the PTX says so
    text: str
    number: int  # its index in the kernel's body


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
class Kernel:
    """A kernel, or a function that it may call: that stays text."""

    kind: str  # "entry" or "func"
    name: str
    params: list[Variable]  # of a function: results first
    pieces: list[str] = field(default_factory=list)
    registers: set[str] = field(default_factory=set)
    variables: list[Variable] = field(default_factory=list)
    body: list[Step] = field(default_factory=list)


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


def instruction(number: int, names: Scope, line: str, text: str) -> Step:
    """Read an instruction; its names are replaced by what they stand for."""
    own = NAME.sub(lambda found: names.get(found[0], found[0]), text)
    if (parts := INSTRUCTION.match(own)) is None:
        raise PtxError(f"this is not PTX: `{text:.60}`")
    guard, opcode, rest = parts.groups("")
    words = [word for word in opcode.split(".") if ":" not in word]
    first = re.split(r",(?![^{]*\})", rest)[0]
    operands, width = OPERAND.findall(rest), len(OPERAND.findall(first))
    return Step(words, operands, width, guard, line, text, number)


def load(text: str) -> dict[str, Kernel]:
    """Return the kernels of a PTX text by name; raises `PtxError` if it is none."""
    text = IGNORED.sub(lambda found: found[1] or " ", text)
    files = dict(re.findall(r'\.file\s+(\d+)\s+"([^"]*)"', text))
    text = LOCATION.sub(lambda at: f".loc {files.get(at[1], '?')}:{at[2]}\n", text)
    outside, functions, depth = list[str](), dict[str, Kernel](), 0
    for piece in PIECE.findall(text):
        depth += (piece == "{") - (piece == "}")
        if head := FUNCTION.search(piece):
            kind, results, name, params = head.groups("")
            formal = [*map(variable, re.findall(r"\.param[^,)]*", results + params))]
            functions[name] = Kernel(kind, name, formal)
        else:
            within = functions[name].pieces if depth > (piece == "{") else outside
            within.append(piece)
    if depth or not functions:
        raise PtxError("this is not PTX, or it ends early")
    kernels = [f for f in functions.values() if f.kind == "entry"]
    return {f.name: read(f, [*outside, *f.pieces, "ret"], functions) for f in kernels}


def read(f: Kernel, pieces: list[str], functions: dict[str, Kernel]) -> Kernel:
    """Read the declarations and instructions of a kernel.

    An inner block has names of its own. A call is such a block too: the body of the
    function, `ret` being a jump to its end. A function without a body stays a call,
    which fails by its name if it is reached.
    """
    scope, line, draft = Scope({"": ""}), "", list[tuple[Scope, str, str]]()
    pieces.reverse()
    while pieces:
        text = " ".join(pieces.pop().split())
        call, here = CALL.match(text), str(len(draft))
        called = functions.get(call[2]) if call and call[2] not in scope else None
        inner = {"": f"{scope['']}.{here}"}
        if text == "{":
            scope = scope.new_child(inner)
        elif text == "}":
            scope = scope.parents
        elif text[-1] == ":":
            scope[text[:-1]] = here
        elif text.startswith(".reg"):
            for base, count in REGISTERS.findall(text.split(None, 2)[2]):
                numbers = range(int(count)) if count else [""]
                f.registers |= {own(scope, f"{base}{number}") for number in numbers}
        elif text.startswith(".loc "):
            line = text.removeprefix(".loc ") if ":" in text else line
        elif text[0] == "." and not re.match(IDLE, text):
            f.variables.append(v := variable(text))
            v.name = own(scope, v.name)
        elif call and called and called.pieces:
            actual = re.findall(r"[\w$]+", "".join(call.groups("")[::2]))
            pairs = zip(called.params, actual, strict=True)
            names = {v.name: scope[name] for v, name in pairs} | {call[2]: call[2]}
            scope = scope.new_child(names | inner)
            body = [RETURN.sub("bra RETURN", piece) for piece in called.pieces]
            pieces += ["}", "RETURN:", *reversed(body)]
        elif text[0] != ".":
            draft.append((scope, line, text))
    f.body = [instruction(k, *each) for k, each in enumerate(draft)]
    used = {*NAME.findall(str([step.operands for step in f.body]))}
    f.variables = [v for v in f.variables if v.name in used]
    return f


def own(scope: Scope, name: str) -> str:
    """Enter a declared name; return the name that is unique in the kernel."""
    scope[name] = name + scope[""]
    return scope[name]
