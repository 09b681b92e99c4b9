"""PTX for tests: a kernel around a few lines of body, and numbers to run it on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from minivae_kernels import ptx
from minivae_kernels.ptx.opcodes import DTYPES
from minivae_kernels.ptx.parse import SIZES
from numpy.typing import NDArray

THREADS = 64
HEAD = ".version 9.0\n.target sm_90\n.address_size 64\n"
OWN = "mad.wide.u32 %x0, %n, 4, %p0;\n"  # the address of each thread's own word
SHARED = ".shared .align 4 .b8 s[256];\n"
MINE = "mad.lo.s32 %r8, %t, 4, %r7;\n"  # the like in shared memory, which %r7 begins
NEIGHBOUR = """xor.b32 %r1, %t, 1; mad.lo.s32 %r1, %r1, 4, %r7;
ld.shared.u32 %r2, [%r1]; st.global.u32 [%x0], %r2;"""
OTHER_WARP = NEIGHBOUR.replace("%t, 1;", "%t, 32;")
WRITE = "st.shared.u32 [%r8], %t;\n"


def raw(kind: str) -> str:
    """Return the type of a register that holds a type: its bits."""
    return "pred" if kind == "pred" else f"b{8 * SIZES[kind]}"


def kernel(body: str, params: int = 1, outside: str = "") -> ptx.Kernel:
    """Return a kernel `k` of pointers; %p0, %p1 ... hold them, %t the thread."""
    declared = ", ".join(f".param .u64 k_{n}" for n in range(params))
    loads = "".join(f"ld.param.u64 %p{n}, [k_{n}];\n" for n in range(params))
    text = f"""{HEAD}{outside}
    .visible .entry k({declared}) {{
    .reg .b64 %p<{params}>, %x<9>;
    .reg .b32 %t, %n, %r<9>;
    .reg .f32 %f<9>;
    .reg .pred %q<9>;
    mov.u32 %t, %tid.x;
    mad.lo.s32 %n, %ctaid.x, %ntid.x, %t;
    {loads}
    {body}
    ret;
    }}"""
    return ptx.load(text)["k"]


def compute(
    instruction: str,
    results: Sequence[str],
    operands: Sequence[tuple[str, NDArray[Any]]],
    noise: int = 0,
) -> list[NDArray[Any]]:
    """Run `instruction` in one thread per element and return what it computes.

    In it %d0, %d1 ... are the results, of these types, and %a0, %a1 ... the operands.
    """
    count = len(operands[0][1])
    lines, arrays = [], []
    for k, (kind, values) in enumerate(operands):
        size = 1 if kind == "pred" else SIZES[kind]
        lines.append(f".reg .{raw(kind)} %a{k}; .reg .b64 %e{k}; .reg .b16 %g{k};")
        lines.append(f"mad.wide.u32 %e{k}, %n, {size}, %p{k};")
        if kind == "pred":
            lines.append(f"ld.global.u8 %g{k}, [%e{k}]; setp.ne.u16 %a{k}, %g{k}, 0;")
        else:
            lines.append(f"ld.global.b{8 * size} %a{k}, [%e{k}];")
        arrays.append(values.astype(np.uint8) if kind == "pred" else values.copy())
    after = []
    for k, kind in enumerate(results):
        number, size = len(operands) + k, 1 if kind == "pred" else SIZES[kind]
        lines.append(f".reg .{raw(kind)} %d{k}; .reg .b64 %h{k}; .reg .b32 %s{k};")
        after.append(f"mad.wide.u32 %h{k}, %n, {size}, %p{number};")
        if kind == "pred":
            after.append(f"selp.u32 %s{k}, 1, 0, %d{k}; st.global.u8 [%h{k}], %s{k};")
        else:
            after.append(f"st.global.b{8 * size} [%h{k}], %d{k};")
        arrays.append(np.zeros(count, np.uint8 if kind == "pred" else DTYPES[kind]))
    body = "\n".join([*lines, f"{instruction};", *after])
    ptx.run(kernel(body, len(arrays)), 1, count, arrays, noise=noise)
    return arrays[len(operands) :]


def numbers(kind: str, count: int, seed: int = 0) -> NDArray[Any]:
    """Return numbers of a type: random ones of every size, and those at the edges."""
    random, dtype = np.random.default_rng(seed), DTYPES[kind]
    if kind == "pred":
        return random.integers(0, 2, count).astype(bool)
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        edges = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, np.inf, -np.inf, np.nan]
        edges += [limits.smallest_subnormal, -limits.smallest_normal, limits.max]
        spread = random.normal(size=count) * 2.0 ** random.integers(-9, 9, count)
        values = spread.astype(dtype)
    else:
        limit = np.iinfo(dtype)
        edges = [0, 1, 2, 3, limit.max, limit.max - 1, limit.min, limit.min + 1]
        shift = random.integers(0, 8 * dtype.itemsize, count).astype(dtype)
        bits = random.integers(limit.min, limit.max, count, dtype, endpoint=True)
        values = bits >> shift
    values[: len(edges)] = np.array(edges, dtype)
    random.shuffle(values)
    return values


def ints(count: int = THREADS) -> NDArray[np.int32]:
    return np.arange(count, dtype=np.int32)


def shared(body: str, params: int = 1) -> ptx.Kernel:
    """A kernel with 64 words of shared memory at %r7, the thread's own at %r8."""
    return kernel(f"{SHARED}mov.u32 %r7, s;\n{MINE}{OWN}{body}", params)
