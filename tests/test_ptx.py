"""The interpreter on whole kernels: memory, branches, warps, barriers, what it detects.

The kernels here are a few lines of PTX each, so that nothing need be installed.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minivae_kernels import ptx
from minivae_kernels.ptx.opcodes import OPCODES
from numpy.typing import NDArray
from ptx_text import HEAD, NEIGHBOUR, OWN, THREADS, WRITE, ints, kernel, shared

# Memory


def test_loads_and_stores_go_to_the_arrays_of_the_caller() -> None:
    out = np.zeros(THREADS, np.int32)
    ptx.run(kernel(f"{OWN} st.global.u32 [%x0], %n;"), 2, 32, (out,))
    np.testing.assert_array_equal(out, ints())


@pytest.mark.parametrize("count", [2, 4])
def test_vectors_move_neighbours_at_once(count: int) -> None:
    names = ", ".join(f"%f{k}" for k in range(count))
    x, out = np.random.default_rng(0).random((2, 8, count)).astype(np.float32)
    body = f"""mad.wide.u32 %x0, %n, {4 * count}, %p0;
    mad.wide.u32 %x1, %n, {4 * count}, %p1;
    ld.global.nc.v{count}.f32 {{{names}}}, [%x0];
    st.global.v{count}.f32 [%x1], {{{names}}};"""
    report = ptx.run(kernel(body, 2), 1, 8, (x, out))
    np.testing.assert_array_equal(out, x)
    assert (report.bytes_read, report.bytes_written) == (x.nbytes, x.nbytes)
    assert report.sectors == 2 * x.nbytes // 32


@pytest.mark.parametrize(
    ("load", "expected"), [("s8", -2), ("u8", 254), ("s16", -2), ("u16", 65534)]
)
def test_narrow_loads_extend_by_their_sign(load: str, expected: int) -> None:
    x, out = np.array([-2], f"i{int(load[1:]) // 8}"), np.zeros(1, np.int32)
    ptx.run(
        kernel(f"ld.global.{load} %r0, [%p0]; st.global.u32 [%p1], %r0;", 2),
        1,
        1,
        (x, out),
    )
    assert out[0] == expected


def test_registers_are_split_and_joined() -> None:
    out = np.zeros(4, np.uint32)
    body = """.reg .b16 %h<2>; mov.u32 %r0, 0x12345678; mov.b32 {%h0, %h1}, %r0;
    mov.b64 %x1, {%r0, 7}; mov.b64 {%r1, %r2}, %x1; cvt.u32.u16 %r3, %h0;
    cvt.u32.u16 %r4, %h1; st.global.v4.u32 [%p0], {%r1, %r2, %r3, %r4};"""
    ptx.run(kernel(body), 1, 1, (out,))
    assert out.tolist() == [0x12345678, 7, 0x5678, 0x1234]


def test_local_memory_is_each_threads_own() -> None:
    out = np.zeros(THREADS, np.int32)
    body = f""".local .align 4 .b8 depot[8]; mov.u64 %x1, depot;
    cvta.local.u64 %x2, %x1;
    st.local.u32 [%x1+4], %n; ld.u32 %r0, [%x2+4]; {OWN} st.global.u32 [%x0], %r0;"""
    ptx.run(kernel(body), 2, 32, (out,))
    np.testing.assert_array_equal(out, ints())


def test_tables_of_the_module_are_read() -> None:
    out = np.zeros(4, np.float32)
    table = ".const .align 4 .b8 c[8] = {0, 0, 128, 63, 0, 0, 0, 64};\n"
    table += ".global .f32 g[2] = {0f40400000, 0f40800000};\n"
    body = """mov.u64 %x0, g; ld.const.f32 %f0, [c]; ld.const.f32 %f1, [c+4];
    ld.global.f32 %f2, [g]; ld.global.f32 %f3, [%x0+4];
    st.global.v4.f32 [%p0], {%f0, %f1, %f2, %f3};"""
    ptx.run(kernel(body, 1, table), 1, 1, (out,))
    assert out.tolist() == [1, 2, 3, 4]


def test_numbers_are_passed_by_value_and_arrays_by_address() -> None:
    text = f"""{HEAD}.visible .entry k(.param .u64 k_0, .param .f32 k_1,
    .param .u32 k_2, .param .align 8 .b8 k_3[16],
    .param .u64 .ptr .global .align 4 k_4) {{
    .reg .b64 %p<2>; .reg .f32 %f<2>; .reg .b32 %r<3>;
    ld.param.u64 %p0, [k_0]; ld.param.f32 %f0, [k_1]; ld.param.u32 %r0, [k_2];
    mov.b64 %p1, k_3; ld.param.u32 %r1, [%p1+8]; st.global.f32 [%p0], %f0;
    st.global.v2.u32 [%p0+8], {{%r0, %r1}}; ret; }}"""
    out = np.zeros(4, np.float32)
    struct = np.array((1, 9), [("a", "u8"), ("b", "u8")])[()]
    ptx.run(ptx.load(text)["k"], 1, 1, (out, 1.5, -1, struct, None))
    assert out[0] == 1.5
    assert out.view(np.int32)[2:].tolist() == [-1, 9]


def test_wrong_arguments_are_refused() -> None:
    k, out = kernel("", 2), np.zeros(1, np.float32)
    with pytest.raises(ptx.PtxError, match="takes 2 arguments, got 1"):
        ptx.run(k, 1, 1, (out,))
    with pytest.raises(ptx.PtxError, match="argument 1 has 8 bytes"):
        ptx.run(k, 1, 1, (out, np.float32(1)))
    for grid, block in ((0, 32), (1, 0), (1, 1025), ((2, 0), 1)):
        with pytest.raises(ptx.PtxError, match="cannot be"):
            ptx.run(k, grid, block, (out, out))


def test_arrays_that_overlap_are_one_memory() -> None:
    whole = np.zeros(8, np.int32)
    body = "ld.global.u32 %r0, [%p0+4]; add.s32 %r0, %r0, 5; st.global.u32 [%p1], %r0;"
    whole[1] = 3
    ptx.run(
        kernel(f"{body} ld.global.u32 %r1, [%p0+8]; st.global.u32 [%p1+4], %r1;", 2),
        1,
        1,
        (whole[:4], whole[2:]),
    )
    assert whole.tolist() == [0, 3, 8, 8, 0, 0, 0, 0]


@pytest.mark.parametrize("begin", [0, 3])
def test_an_array_in_another_with_gaps_is_written_where_it_is(begin: int) -> None:
    whole = np.zeros(8, np.int32)
    k = kernel(f"shl.b32 %n, %n, 1; {OWN} st.global.u32 [%x0], 7;")
    ptx.run(k, 1, 2, (whole[begin::2],))
    assert whole.tolist() == [0] * begin + [7, 0, 7, 0] + [0] * (4 - begin)


def test_threads_know_their_place_in_three_dimensions() -> None:
    out = np.zeros((2, 3, 2, 2, 2, 4), np.int32)  # grid z, y, x; block z, y, x
    names = ["%nctaid", "%ctaid", "%ntid", "%tid"]
    body = "mov.u32 %r0, 0;\n"
    for what, extent in ((names[1], names[0]), (names[3], names[2])):
        for axis in "zyx":
            body += f"mov.u32 %r1, {what}.{axis}; mov.u32 %r2, {extent}.{axis};"
            body += "mad.lo.s32 %r0, %r0, %r2, %r1;\n"
    body += "mad.wide.u32 %x0, %r0, 4, %p0; st.global.u32 [%x0], %r0;"
    ptx.run(kernel(body), (2, 3, 2), (4, 2, 2), (out,))
    np.testing.assert_array_equal(out.ravel(), np.arange(out.size))


# Branches


def test_threads_that_part_meet_again() -> None:
    out = np.zeros(THREADS, np.int32)
    body = f"""{OWN} and.b32 %r0, %t, 1; setp.eq.s32 %q0, %r0, 0;
    @%q0 bra EVEN;
    mov.u32 %r1, 100; bra.uni JOIN;
    EVEN: mov.u32 %r1, 200;
    JOIN: activemask.b32 %r2; @!%q0 add.s32 %r1, %r1, 1;
    st.global.u32 [%x0], %r1; setp.ne.s32 %q1, %r2, -1; @%q1 st.global.u32 [%x0], -1;"""
    ptx.run(kernel(body), 1, THREADS, (out,))
    assert out.tolist() == [200, 101] * (THREADS // 2)


def test_every_thread_loops_as_often_as_it_wants() -> None:
    out = np.zeros(THREADS, np.int32)
    body = f"""{OWN} mov.u32 %r0, 0; mov.u32 %r1, 0;
    LOOP: setp.ge.s32 %q0, %r0, %t; @%q0 bra DONE;
    add.s32 %r1, %r1, %r0; add.s32 %r0, %r0, 1; bra LOOP;
    DONE: st.global.u32 [%x0], %r1; @%q0 ret; st.global.u32 [%x0], -1; exit;"""
    report = ptx.run(kernel(body), 1, THREADS, (out,))
    assert out.tolist() == [t * (t - 1) // 2 for t in range(THREADS)]
    assert (np.diff(report.steps) == 5).all()


def test_a_loop_without_end_is_stopped() -> None:
    with pytest.raises(ptx.PtxError, match="no end after 1000 instructions"):
        ptx.run(kernel("LOOP: bra LOOP;"), 1, 32, (None,), limit=1000)


def test_calls_and_inner_blocks_have_names_of_their_own() -> None:
    device = """.func (.param .b32 back) twice(.param .b32 given);
    .func (.param .b32 back) twice(.param .b32 given) { .reg .b32 %r<3>; .reg .pred %q0;
    ld.param.b32 %r0, [given]; setp.gt.s32 %q0, %r0, 5; @%q0 bra BIG;
    add.s32 %r1, %r0, %r0; st.param.b32 [back], %r1; ret;
    BIG: st.param.b32 [back], %r0; ret; }
    """
    call = """{ .param .b32 param0; .param .b32 retval0; st.param.b32 [param0], %r0;
    call.uni (retval0), twice, (param0); ld.param.b32 %r0, [retval0]; }"""
    body = f"""{OWN} mov.u32 %r0, %t; mov.u32 %r1, 3; {call} {call}
    {{ .reg .b32 %r1; mov.u32 %r1, 50; add.s32 %r0, %r0, %r1; }}
    add.s32 %r0, %r0, %r1; st.global.u32 [%x0], %r0;"""
    out = np.zeros(8, np.int32)
    ptx.run(kernel(body, 1, device), 1, 8, (out,))
    twice = [2 * t if t <= 5 else t for t in range(8)]
    assert out.tolist() == [(2 * t if t <= 5 else t) + 53 for t in twice]


def test_variables_of_inner_blocks_have_their_own_place_and_size() -> None:
    out = np.zeros(2, np.int32)
    body = """{ .local .align 4 .b8 d[8]; st.local.u32 [d+4], 7;
    ld.local.u32 %r0, [d+4]; } { .local .align 4 .b8 d[4]; st.local.u32 [d], 8;
    ld.local.u32 %r1, [d]; } st.global.v2.u32 [%p0], {%r0, %r1};"""
    ptx.run(kernel(body), 1, 1, (out,))
    assert out.tolist() == [7, 8]


def test_a_function_without_a_body_is_named_when_it_is_called() -> None:
    device = ".extern .func (.param .b32 r) vprintf(.param .b64 a);\n"
    call = ".param .b32 r; .param .b64 a; call.uni (r), vprintf, (a);"
    ptx.run(
        kernel(f"setp.gt.s32 %q0, %t, 99; @%q0 bra C; ret; C: {call}", 1, device),
        1,
        1,
        (None,),
    )
    with pytest.raises(ptx.UnknownInstructionError, match="vprintf"):
        ptx.run(kernel(call, 1, device), 1, 1, (None,))


# Updates


@pytest.mark.parametrize("space", ["global", "shared"])
@pytest.mark.parametrize("name", ["add", "min", "max", "and", "or", "xor", "exch"])
def test_updates_are_made_one_after_the_other(name: str, space: str) -> None:
    kind = "b32" if name in ("and", "or", "xor", "exch") else "s32"
    x = np.random.default_rng(1).integers(-99, 99, THREADS).astype(np.int32)
    old, new = np.zeros_like(x), np.array([21], np.int32)
    at, begin, end = "[%p2]", "", ""
    if space == "shared":
        at, begin = "[%r7]", "ld.global.u32 %r1, [%p2]; setp.eq.s32 %q0, %t, 0;"
        begin += "@%q0 st.shared.u32 [%r7], %r1; bar.sync 0;"
        end = "bar.sync 0; ld.shared.u32 %r3, [%r7]; @%q0 st.global.u32 [%p2], %r3;"
    body = f"""{begin} ld.global.u32 %r0, [%x0];
    atom.{space}.{name}.{kind} %r2, {at}, %r0;
    mad.wide.u32 %x1, %n, 4, %p1; st.global.u32 [%x1], %r2; {end}"""
    ptx.run(shared(body, 3), 1, THREADS, (x, old, new))
    value, functions = 21, {"exch": lambda a, b: b, "add": lambda a, b: a + b}
    functions |= {"min": min, "max": max, "and": lambda a, b: a & b}
    functions |= {"or": lambda a, b: a | b, "xor": lambda a, b: a ^ b}
    for k, given in enumerate(x.tolist()):
        assert old[k] == value
        value = functions[name](value, given)
    assert new[0] == value


def test_compare_and_swap_and_reductions() -> None:
    out = np.zeros(2, np.float32)
    body = """cvt.rn.f32.s32 %f0, %t; red.global.add.f32 [%p0], %f0;
    atom.global.cas.b32 %r0, [%p0+4], 0, 7; setp.eq.s32 %q0, %r0, 0;
    @%q0 red.relaxed.gpu.global.add.u32 [%p0+4], 1; membar.gl; fence.acq_rel.gpu;"""
    ptx.run(kernel(body), 1, THREADS, (out,))
    assert out[0] == sum(range(THREADS))
    assert out.view(np.int32)[1] == 8


# Warps


def team(instruction: str, results: int, *operands: NDArray[Any]) -> list[Any]:
    """Run a warp instruction over operands %a0, %a1, ... to words %d0, %d1, ..."""
    body, count = "", len(operands[0])
    for k in range(len(operands)):
        body += f".reg .b32 %a{k}; mad.wide.u32 %x0, %n, 4, %p{k};"
        body += f"ld.global.u32 %a{k}, [%x0];"
    body += f".reg .b32 %d<{results}>; .reg .pred %c<2>; {instruction}"
    for k in range(results):
        body += f"mad.wide.u32 %x0, %n, 4, %p{len(operands) + k};"
        body += f"st.global.u32 [%x0], %d{k};"
    out = [np.zeros(count, np.uint32) for _ in range(results)]
    ptx.run(kernel(body, len(operands) + results), 1, count, (*operands, *out))
    return out


@pytest.mark.parametrize("width", [32, 16, 8])
@pytest.mark.parametrize("mode", ["up", "down", "bfly", "idx"])
def test_shuffles_take_the_value_of_another_lane(mode: str, width: int) -> None:
    random = np.random.default_rng(width)
    value = random.integers(0, 2**32, THREADS, dtype=np.uint32)
    by = random.integers(0, 32, THREADS, dtype=np.uint32)
    clamp = (32 - width) << 8 | (0 if mode == "up" else 31)
    found, valid = team(
        f"shfl.sync.{mode}.b32 %d0|%c0, %a0, %a1, {clamp}, -1;selp.u32 %d1, 1, 0, %c0;",
        2,
        value,
        by,
    )
    for thread in range(THREADS):
        lane, n = thread % 32, int(by[thread])
        first = lane // width * width
        source = {"up": lane - n, "down": lane + n, "bfly": lane ^ n}
        source["idx"] = first + n % width
        inside = source[mode] >= first if mode == "up" else source[mode] < first + width
        taken = source[mode] if inside else lane
        assert valid[thread] == inside
        assert found[thread] == value[thread // 32 * 32 + taken]


def test_votes_are_counted_in_the_warp() -> None:
    yes = np.array([t % 3 == 0 if t < 32 else True for t in range(THREADS)], np.uint32)
    votes = "setp.ne.u32 %c0, %a0, 0; vote.sync.ballot.b32 %d0, %c0, -1;"
    for k, name in enumerate(("all", "any"), 1):
        votes += f"vote.sync.{name}.pred %c1, %c0, -1; selp.u32 %d{k}, 1, 0, %c1;"
    votes += "vote.sync.any.pred %c1, !%c0, 0xffffffff; selp.u32 %d3, 1, 0, %c1;"
    ballot, every, some, no = team(votes, 4, yes)
    bits = sum(1 << t for t in range(0, 32, 3))
    assert ballot.tolist() == [bits] * 32 + [2**32 - 1] * 32
    assert every.tolist() == [0] * 32 + [1] * 32
    assert some.tolist() == [1] * THREADS
    assert no.tolist() == [1] * 32 + [0] * 32


def test_halves_of_a_warp_vote_apart() -> None:
    out = np.zeros(32, np.uint32)
    body = f"""{OWN} setp.lt.s32 %q0, %t, 16; setp.eq.s32 %q1, %t, 20;
    selp.b32 %r1, 0x0000ffff, 0xffff0000, %q0; vote.sync.ballot.b32 %r0, %q1, %r1;
    vote.sync.all.pred %q2, !%q1, %r1; @!%q2 add.s32 %r0, %r0, 1;
    st.global.u32 [%x0], %r0; bar.warp.sync %r1;"""
    ptx.run(kernel(body), 1, 32, (out,))
    assert out.tolist() == [0] * 16 + [(1 << 20) + 1] * 16


def test_a_branch_that_only_some_take_has_its_mask() -> None:
    out = np.zeros(64, np.uint32)
    ptx.run(
        kernel(
            f"{OWN} setp.lt.s32 %q0, %t, 5; @%q0 bra A; ret;"
            "A: activemask.b32 %r0; st.global.u32 [%x0], %r0;"
        ),
        1,
        64,
        (out,),
    )
    assert out.tolist() == [31] * 5 + [0] * 59


# Counts and the trace


@pytest.mark.parametrize("stride", [1, 2, 8, 16])
def test_sectors_are_pieces_of_32_bytes_requested_by_a_warp(stride: int) -> None:
    body = f"mad.wide.u32 %x0, %n, {4 * stride}, %p0; ld.global.f32 %f0, [%x0];"
    report = ptx.run(kernel(body), 1, 64, (np.zeros(64 * stride, np.float32),))
    assert report.bytes_read == 256
    assert report.sectors == 64 * min(4 * stride, 32) // 32


def test_two_warps_request_one_sector_twice() -> None:
    report = ptx.run(
        kernel("ld.global.f32 %f0, [%p0];"), 1, 64, (np.zeros(8, np.float32),)
    )
    assert report.sectors == 2


def test_the_trace_shows_what_each_thread_reads_and_writes_between_barriers() -> None:
    out = np.zeros(4, np.int32)
    phases = list(ptx.trace(shared(WRITE + "bar.sync 0;" + NEIGHBOUR), 1, 4, (out,)))
    reads, writes = phases[0]
    assert (reads.kind, writes.kind) == ("reads", "writes")
    assert writes.threads.tolist() == [0, 1, 2, 3]
    assert writes.places == [("shared", "s", 4 * k) for k in range(4)]
    after = list(itertools.chain(*phases[1:]))
    assert [request.kind for request in after] == ["reads", "writes"]
    for request in after:
        assert request.values.tolist() == [[1], [0], [3], [2]]
    assert out.tolist() == [1, 0, 3, 2]


def test_every_instruction_that_is_not_arithmetic_is_run() -> None:
    files = Path(__file__).parent.glob("test_ptx*.py")
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    names = {name.split(".")[0] for (name, _), row in OPCODES.items() if row.method}
    assert not [name for name in names if not re.search(rf"\b{name}\b[.; ]", text)]


# What cannot be read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello world",
        f"{HEAD}.visible .entry k() {{ ret;",
        f"{HEAD}.visible .entry k() {{ ?? ; }}",
        f"{HEAD}.visible .entry k() {{ .reg .b32 %r0; .shared .texref s; ret; }}",
    ],
)
def test_what_is_not_ptx_is_refused(text: str) -> None:
    with pytest.raises(ptx.PtxError):
        ptx.load(text)


def test_a_module_gives_kernels_by_name() -> None:
    text = f"{HEAD}.visible .entry a() {{ ret; }} .entry b() {{ ret; }}"
    module = ptx.load(text)
    assert list(module) == ["a", "b"]
    ptx.run(module["b"], 1, 1, ())
