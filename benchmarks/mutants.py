"""`python -m benchmarks mutants`: one token of a kernel changed, and who notices.

A mutation test measures tests: every mutant of a kernel's source must fail the proof
that the kernel passes (`minivae_kernels.proof`), or be listed below with the reason why
it computes the same.
"""

from __future__ import annotations

import ast
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from unittest import mock

from minivae_kernels import Family, Rung, devices, families, launch, nvrtc
from minivae_kernels.launch import NumbaCuda
from minivae_kernels.nvrtc import FOLDER, CompileError
from minivae_kernels.proof import all_faults
from tyro.conf import Positional

from benchmarks import report
from benchmarks.report import Sheet
from minivae.errors import UserError

LIMIT = 40  # seconds of CPU for one mutant; the proof of a right file takes some 10
EACH_KIND = 2  # mutants of a kind in one file, spread over it
HEADERS_OF = {"common.cuh": ("bernoulli", "gaussian", "logmeanexp")}
"""Whose kernels call what a header defines; others only take its types."""

Edit = Callable[[re.Match[str]], str]


def _plus_one(found: re.Match[str]) -> str:
    text = found[0]
    suffix = text[-1] if text[-1] in "uf" and "0x" not in text else ""
    digits = text.removesuffix(suffix)
    if digits.lower().startswith("0x") and "p" not in digits:
        return f"0x{int(digits.rstrip('u'), 16) ^ 1:X}" + ("u" if "u" in digits else "")
    return f"{int(digits) + 1}{suffix}"


NUMBER = r"(?<![\w.])(?:0x[0-9A-Fa-f]{5,}u?|\d+u?)(?![\w.])"
KINDS: dict[str, tuple[str, Edit | str]] = {
    "barrier dropped": (r"__syncthreads\(\)|cuda\.syncthreads\(\)", "0"),
    "< for <=": (r"(?<=[\w\])]) < (?=[\w(])", " <= "),
    "> for >=": (r"(?<=[\w\])]) >= (?=[\w(])", " > "),
    "+ for -": (r"(?<=[\w\])]) \+ (?=[\w(])", " - "),
    "- for +": (r"(?<=[\w\])]) - (?=[\w(])", " + "),
    "* for /": (r"(?<=[\w\])]) \* (?=[\w(])", " / "),
    "/ for *": (r"(?<=[\w\])]) //? (?=[\w(])", " * "),
    "another constant": (NUMBER, _plus_one),
    "another lane": (
        r"(?:lane|t|threadIdx\.x|at\.lane) == 0",
        lambda m: m[0][:-1] + "1",
    ),
    "another axis": (r"(?<=(?:Idx|Dim)\.)[xy]\b", lambda m: "xy"["yx".index(m[0])]),
    "another component": (r"(?<=[a-z0-9])\.[xyzw]\b(?! = )", lambda m: _next_of(m[0])),
    "overwritten sum": (r" \+= ", " = "),
    "sum lost": (r"(?<=\w) = (lanes_sum|block_sum)\((.+)\);", r" = \2;"),
    "another shift": (r"(?<= [<>]{2} )\d+|(?<=>> uint32\()\d+", _plus_one),
    "xor lost": (r" \^ \w+", ""),
    "absolute value lost": (r"\bf?abs\(", "("),
    "the other of two": (r" \? (.+?) : ([^;,)]+)", r" ? \2 : \1"),
}


def _next_of(component: str) -> str:
    return "." + "yxwz"["xyzw".index(component[1])]


ZERO = "both give zero where the sum is zero"
ANY_THREAD = "after the barrier any one thread may store the sum"
A_TURN = "a whole turn further: rounded a little more, within what is allowed"
SAME: dict[tuple[str, str, str], str] = {
    (
        "bernoulli.cu",
        "> for >=",
        "*gradient = scale * ((l > 0 ? inverse : t * inverse) - x);",
    ): "at l = 0 both are 1/2: t is 1",
    (
        "relu.cu",
        "< for <=",
        "__device__ inline real rectified(real x) { return x <= 0 ? real(0) : x; }",
    ): "at 0 both are 0, but for its sign",
    (
        "bernoulli_cuda.py",
        "> for >=",
        "sigmoid = (one if l > zero else t) / (one + t)",
    ): "at l = 0 both are 1/2: t is 1",
    ("bernoulli_cuda.py", "another lane", "if t == 1:"): ANY_THREAD,
    ("colsum_cuda.py", "another lane", "if t == 1:"): ANY_THREAD,
    (
        "bias_activation.cu",
        "< for <=",
        "return relu && total <= 0 ? real(0) : total;  // NaN stays NaN",
    ): ZERO,
    (
        "bias_activation_cuda.py",
        "< for <=",
        "z[n, o] = z.dtype.type(0) if relu and total <= z.dtype.type(0) else total",
    ): ZERO,
    (
        "matmul.cu",
        "< for <=",
        "return epilogue == BIAS_RELU && total <= 0 ? real(0) : total;",
    ): ZERO,
    (
        "matmul_cuda.py",
        "< for <=",
        "return zero if epilogue == BIAS_RELU and total <= zero else total",
    ): ZERO,
    (
        "logmeanexp.cu",
        "another lane",
        "if (lane == 1) values[n] = sum.largest + log(sum.total / S);",
    ): "the exchange leaves all lanes with the same sum",
    (
        "philox.cuh",
        "- for +",
        "*z0 = -radius * __cosf(3.14159265f * (angle + 1));",
    ): A_TURN,
    (
        "philox.cuh",
        "- for +",
        "*z1 = -radius * __sinf(3.14159265f * (angle + 1));",
    ): A_TURN,
    (
        "philox_cuda.py",
        "- for +",
        "angle = real(2 * math.pi) * (real(uniform(second)) + real(0.5))",
    ): A_TURN,
    (
        "common.cuh",
        "another constant",
        "__shared__ real of_warp[33];",
    ): "a word more than is used",
    (
        "gaussian.cu",
        "< for <=",
        "for (Place at(lanes); at.first <= N; at.next()) {",
    ): "one turn more, in which no lane has an image",
}
"""(file, kind, mutated line) -> why it computes the same, and moves the same bytes."""


@dataclass(frozen=True)
class Mutant:
    """A file of kernels with one token changed."""

    file: str
    kind: str
    line: int
    was: str
    now: str
    text: str

    @property
    def reason(self) -> str | None:
        """Why nobody can notice, if that is so."""
        return SAME.get((self.file, self.kind, self.now))


def mutants_of(path: Path) -> list[Mutant]:
    """Return mutants of a file: some of each kind that can occur in it."""
    text = path.read_text(encoding="utf-8")
    lines, code = text.splitlines(), code_lines(path, text)
    found = []
    for kind, (pattern, edit) in KINDS.items():
        spots = [
            (number, match)
            for number in code
            for match in re.finditer(pattern, without_comment(path, lines[number]))
        ]
        step = max(1, -(-len(spots) // EACH_KIND))
        for number, match in spots[::step]:
            was = lines[number]
            changed = match.expand(edit) if isinstance(edit, str) else edit(match)
            now = was[: match.start()] + changed + was[match.end() :]
            if now == was:
                continue
            other = [*lines[:number], now, *lines[number + 1 :]]
            text = "\n".join(other) + "\n"
            found.append(
                Mutant(path.name, kind, number + 1, was.strip(), now.strip(), text)
            )
    return found


def without_comment(path: Path, line: str) -> str:
    """Return a line up to its comment."""
    return re.sub(r"(//|#).*" if path.suffix != ".py" else r"#.*", "", line)


def code_lines(path: Path, text: str) -> list[int]:
    """Return the numbers of lines with code of a kernel in them."""
    if path.suffix != ".py":
        return [
            number
            for number, line in enumerate(text.splitlines())
            if not line.lstrip().startswith(("//", "#", "/*"))
        ]
    tree, inside = ast.parse(text), set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            first = node.body[1] if ast.get_docstring(node) else node.body[0]
            inside |= set(range(first.lineno - 1, node.end_lineno or 0))
    return sorted(inside)


# Running one


def rungs_of(file: str) -> list[tuple[Family, Rung]]:
    """Return the rungs whose kernels a file has a part in."""
    is_numba, stems = file.endswith(".py"), {Path(file).stem}
    if file.endswith(".cuh"):
        texts = {p.stem: p.read_text(encoding="utf-8") for p in FOLDER.glob("*.cu")}
        stems = {s for s, text in texts.items() if f'"{file}"' in text}
        stems &= set(HEADERS_OF.get(file, stems))
    elif file == "philox_cuda.py":
        stems.add("gaussian_cuda")
    return [
        (family, rung)
        for family in families()
        for rung in family.rungs
        if any(
            kernel.stem in stems and is_numba == isinstance(kernel, NumbaCuda)
            for kernel in rung.kernels
        )
    ]


@contextmanager
def in_place_of(file: str, text: str) -> Iterator[None]:
    """Compile kernels from another text of a file, in a cache of its own."""
    stem, source, including = Path(file).stem, launch.source_of, nvrtc.headers()
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.multiple(nvrtc, cache_folder=lambda: Path(folder)),
    ):
        if file.endswith(".py"):
            with _module(f"minivae_kernels.{stem}", Path(folder) / file, text):
                yield
            return
        if file.endswith(".cuh"):
            including = {**including, file: text}

        def read(name: str) -> str:
            return text if file == f"{name}.cu" else source(name)

        with (
            mock.patch.object(launch, "source_of", read),
            mock.patch.object(nvrtc, "headers", return_value=including),
        ):
            _forget()
            try:
                yield
            finally:
                _forget()


def _forget() -> None:
    """Forget what was compiled and read of kernels in this process."""
    launch._compiled_cuda_c.cache_clear()
    launch.parsed.cache_clear()
    for family in families():
        for rung in family.rungs:
            for kernel in rung.kernels:
                for name in ("function", "parameters", "simulated"):
                    vars(kernel).pop(name, None)


@contextmanager
def _module(name: str, path: Path, text: str) -> Iterator[None]:
    """Have a module from another text, and those that import from it anew."""
    path.write_text(text, encoding="utf-8")
    kept = {n: m for n, m in sys.modules.items() if n.endswith("_cuda") and "." in n}
    for each in kept:
        del sys.modules[each]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    _forget()
    try:
        exec(compile(text, str(path), "exec"), vars(module))
        yield
    finally:
        for each in [n for n in sys.modules if n.endswith("_cuda") and "." in n]:
            del sys.modules[each]
        sys.modules.update(kept)
        _forget()


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` in the context once it has taken so much CPU time."""

    def stop(*_: object) -> None:
        raise TimeoutError("a loop that does not end")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def verdict(mutant: Mutant, limit: float = LIMIT) -> str:
    """Return the first fault of a mutant; "" if it survives.

    "invalid" is one that does not compile: it tests the compiler. One that is not done
    after `limit` seconds of CPU is noticed by that.
    """
    with in_place_of(mutant.file, mutant.text), at_most(limit):
        for family, rung in rungs_of(mutant.file):
            try:
                for fault in all_faults(family, rung, seed=1):
                    return fault.splitlines()[0]
            except CompileError:
                return "invalid"
            except Exception as error:
                return f"{type(error).__name__}: {error}"
    return ""


def all_mutants() -> list[Mutant]:
    """Return the mutants of every file that kernels are compiled from."""
    files = [
        p for suffix in ("*.cu", "*.cuh", "*_cuda.py") for p in FOLDER.glob(suffix)
    ]
    return [mutant for path in sorted(files) for mutant in mutants_of(path)]


@dataclass
class Score:
    """What became of the mutants of one file."""

    killed: int = 0
    listed: int = 0  # compute the same, for the reason given above
    survivors: list[Mutant] = field(default_factory=list)

    @property
    def made(self) -> int:
        """All that compile."""
        return self.killed + self.listed + len(self.survivors)


def mutants(
    file: Positional[str | None] = None, workers: int = 2, write: bool = False
) -> None:
    """Change kernels one token at a time, and count the mutants that are noticed.

    Args:
        file: one file, bernoulli.cu say; by default all
        workers: processes
        write: also put the score into benchmarks/README.md
    """
    chosen = [m for m in all_mutants() if file in (None, m.file)]
    if not chosen:
        files = ", ".join(dict.fromkeys(m.file for m in all_mutants()))
        raise UserError(f"no file {file!r} of kernels; have {files}")
    if write:
        if file is not None:
            raise UserError("the page has the score of all files: leave FILE out")
        report.split_page("mutants")  # not after an hour
    if reason := devices.why_no_ptx() or devices.why_no_numba_cuda():
        raise UserError(f"nothing would notice a mutant here: {reason}")
    import_module("minivae_kernels.ptx")
    scores: dict[str, Score] = {}
    with ProcessPoolExecutor(workers) as pool:
        for mutant, said in zip(chosen, pool.map(verdict, chosen), strict=True):
            if said == "invalid":
                continue
            score = scores.setdefault(mutant.file, Score())
            if said:
                score.killed += 1
            elif mutant.reason:
                score.listed += 1
            else:
                score.survivors.append(mutant)
            outcome = said or mutant.reason or "SURVIVES"
            print(f"{mutant.file}:{mutant.line} {mutant.kind}: {mutant.now}")
            print(f"    {outcome[:150]}", flush=True)
    if write:
        report.write_page("mutants", [sheet(scores)])
    report.print_sheets([sheet(scores)])
    survivors = [m for score in scores.values() for m in score.survivors]
    for mutant in survivors:
        print(f"survives: {mutant.file}:{mutant.line} {mutant.kind}: {mutant.now}")
    if survivors:
        sys.exit(1)


def sheet(scores: Mapping[str, Score]) -> Sheet:
    """Return the score by file, and of each language."""
    rows = [
        (name, *map(str, (s.made, s.killed, s.listed, len(s.survivors))))
        for name, s in scores.items()
    ]
    notes = []
    for language, is_python in (("CUDA C", False), ("Numba", True)):
        those = [s for n, s in scores.items() if n.endswith(".py") == is_python]
        if those:
            killed = sum(s.killed for s in those)
            counted = killed + sum(len(s.survivors) for s in those)
            notes.append(f"{language}: {killed} of {counted} mutants killed.")
    notes.append("Listed: the mutant computes the same; `mutants.py` says why.")
    header = ("file", "mutants", "killed", "listed", "survive")
    return Sheet("Mutants: one token of a kernel changed", header, rows, notes)
