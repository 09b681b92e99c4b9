"""What the interpreter detects: faults are planted, and absent from right kernels."""

from __future__ import annotations

import numpy as np
import pytest
from minivae_kernels import ptx
from ptx_text import (
    NEIGHBOUR,
    OTHER_WARP,
    OWN,
    SHARED,
    THREADS,
    WRITE,
    ints,
    kernel,
    shared,
)


@pytest.mark.parametrize(
    ("barrier", "other", "races"),
    [
        ("", NEIGHBOUR, True),
        ("bar.sync 0;", NEIGHBOUR, False),
        ("barrier.sync 0;", OTHER_WARP, False),
        ("bar.warp.sync -1;", NEIGHBOUR, False),
        ("bar.warp.sync -1;", OTHER_WARP, True),
        ("membar.cta;", NEIGHBOUR, True),
    ],
)
def test_a_read_must_be_parted_from_the_write(
    barrier: str, other: str, races: bool
) -> None:
    out, k = np.zeros(THREADS, np.int32), shared(WRITE + barrier + other)
    if races:
        with pytest.raises(ptx.RaceError, match="no barrier lies between"):
            ptx.run(k, 1, THREADS, (out,))
    ptx.run(k, 1, THREADS, (out,), detect=not races)  # in step, the numbers are right
    other_lane = 32 if other is OTHER_WARP else 1
    assert out.tolist() == [t ^ other_lane for t in range(THREADS)]


@pytest.mark.parametrize("last", ["", "bar.sync 0;"])
def test_a_loop_needs_a_barrier_at_its_end_too(last: str) -> None:
    body = f"""mov.u32 %r3, 0;
    LOOP: {WRITE} bar.sync 0; {OTHER_WARP} {last}
    add.s32 %r3, %r3, 1; setp.lt.s32 %q0, %r3, 2; @%q0 bra LOOP;"""
    out, k = np.zeros(THREADS, np.int32), shared(body)
    if last:
        assert ptx.run(k, 1, THREADS, (out,)).barriers == 4 * THREADS
    else:
        with pytest.raises(ptx.RaceError):
            ptx.run(k, 1, THREADS, (out,))


@pytest.mark.parametrize(
    ("body", "races"),
    [
        ("st.global.u32 [%p0], %t;", True),  # all write one word
        ("red.global.add.u32 [%p0], %t;", False),
        ("ld.global.u32 %r0, [%p0];", False),
        ("ld.global.u32 %r0, [%p0]; red.global.add.u32 [%p0], %r0;", True),
        ("red.global.add.u32 [%p0], 1; ld.global.u32 %r0, [%p0];", True),
        ("ld.global.u32 %r0, [%p0]; st.global.u32 [%x0], %r0;", True),
        ("mad.wide.u32 %x0, %t, 4, %p0; st.global.u32 [%x0], %t;", True),  # two blocks
    ],
)
def test_threads_and_blocks_meet_only_in_updates(body: str, races: bool) -> None:
    k, out = kernel(OWN + body), np.zeros(THREADS, np.int32)
    if races:
        with pytest.raises(ptx.RaceError):
            ptx.run(k, 2, 32, (out,))
    else:
        ptx.run(k, 2, 32, (out,))


@pytest.mark.parametrize("readers", [(0, 40), (40, 0)])
def test_all_readers_count_not_only_the_last(readers: tuple[int, int]) -> None:
    body = WRITE + "bar.sync 0;"
    for reader in readers:
        body += f"setp.eq.s32 %q0, %t, {reader}; @%q0 ld.shared.u32 %r0, [%r7];"
    with pytest.raises(ptx.RaceError):
        ptx.run(shared(body + "@%q0 st.shared.u32 [%r7], 1;"), 1, THREADS, (ints(),))
    ptx.run(shared(body + "bar.sync 0; @%q0 st.shared.u32 [%r7], 1;"), 1, 64, (ints(),))


def test_a_barrier_does_not_part_blocks() -> None:
    body = OWN + "st.global.u32 [%x0], 1; bar.sync 0; xor.b32 %n, %n, {};"
    body += OWN + "ld.global.u32 %r0, [%x0];"
    ptx.run(kernel(body.format(1)), 2, 32, (np.zeros(64, np.int32),))
    with pytest.raises(ptx.RaceError):
        ptx.run(kernel(body.format(32)), 2, 32, (np.zeros(64, np.int32),))


def test_bytes_of_one_word_are_no_race() -> None:
    out = np.zeros(THREADS, np.uint8)
    ptx.run(
        kernel("cvt.u64.u32 %x0, %n; add.s64 %x0, %p0, %x0; st.global.u8 [%x0], %t;"),
        1,
        THREADS,
        (out,),
    )
    assert out.tolist() == list(range(THREADS))


@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize(
    "access",
    ["ld.global.u32 %r0, [%x0];", "st.global.u32 [%x0], 0;", "st.u32 [%x0], 0;"],
)
def test_an_access_past_the_end_is_out_of_bounds(access: str, extra: int) -> None:
    k, array = kernel(OWN + access), np.zeros(THREADS + 8, np.int32)[: THREADS - extra]
    if extra:
        with pytest.raises(
            ptx.OutOfBoundsError, match=r"thread \(63, 0, 0\).*byte 252"
        ):
            ptx.run(k, 1, THREADS, (array,))
    else:
        ptx.run(k, 1, THREADS, (array,))


@pytest.mark.parametrize(
    "body",
    [
        "ld.global.u32 %r0, [%p0+-4];",
        "ld.shared.u32 %r0, [s+256];",
        "mov.u64 %x0, s; ld.u32 %r0, [%x0+300];",
        "ld.global.u32 %r0, [s];",
        "ld.shared.u32 %r0, [%p0];",
        "mov.u64 %x0, 0; ld.global.u32 %r0, [%x0];",
        "mov.u64 %x0, -8; ld.global.u32 %r0, [%x0];",
        "ld.local.u32 %r0, [%x1];",
    ],
)
@pytest.mark.parametrize("detect", [True, False])
def test_addresses_of_nothing_are_out_of_bounds(body: str, detect: bool) -> None:
    with pytest.raises(ptx.OutOfBoundsError):
        ptx.run(kernel(SHARED + body), 1, 1, (np.zeros(4, np.int32),), detect=detect)


def test_an_access_that_ends_outside_is_out_of_bounds() -> None:
    k = kernel("ld.global.v4.f32 {%f0, %f1, %f2, %f3}, [%p0+16];")
    ptx.run(k, 1, 1, (np.zeros(8, np.float32),))
    with pytest.raises(ptx.OutOfBoundsError):
        ptx.run(k, 1, 1, (np.zeros(6, np.float32),))


def test_no_offset_leads_from_shared_memory_to_an_array() -> None:
    for offset in range(256, 4096, 64):
        k = kernel(f"{SHARED}mov.u64 %x0, s; ld.u32 %r0, [%x0+{offset}];")
        with pytest.raises(ptx.OutOfBoundsError):
            ptx.run(k, 1, 1, (np.zeros(1024, np.int32),))


def test_a_read_only_array_is_not_written() -> None:
    x = np.zeros(4, np.int32)
    x.flags.writeable = False
    ptx.run(kernel("ld.global.u32 %r0, [%p0];"), 1, 1, (x,))
    with pytest.raises(ptx.OutOfBoundsError, match="read-only"):
        ptx.run(kernel("st.global.u32 [%p0], 1;"), 1, 1, (x,))


def test_nothing_is_written_by_a_kernel_that_fails() -> None:
    out = np.zeros(4, np.int32)
    with pytest.raises(ptx.OutOfBoundsError):
        ptx.run(
            kernel("st.global.u32 [%p0], 1; st.global.u32 [%p0+16], 1;"), 1, 1, (out,)
        )
    assert not out.any()


@pytest.mark.parametrize(
    ("start", "width", "fits"),
    [(4, 4, True), (2, 4, False), (2, 2, True), (1, 2, False), (1, 1, True)],
)
def test_vectors_need_alignment(start: int, width: int, fits: bool) -> None:
    registers = ", ".join(f"%f{k}" for k in range(width))
    kind, listed = (
        (f"v{width}.f32", f"{{{registers}}}") if width > 1 else ("f32", "%f0")
    )
    k, array = kernel(f"ld.global.{kind} {listed}, [%p0];"), np.zeros(16, np.float32)
    if fits:
        ptx.run(k, 1, 1, (array[start:],))
    else:
        with pytest.raises(ptx.MisalignedError, match=f"multiple of {4 * width}"):
            ptx.run(k, 1, 1, (array[start:],))


def test_shared_memory_is_no_better_aligned_than_declared() -> None:
    body = f"{SHARED}st.shared.v4.f32 [s], {{%f0, %f0, %f0, %f0}};"
    with pytest.raises(ptx.MisalignedError):
        ptx.run(kernel(body), 1, 1, (None,))
    ptx.run(kernel(body.replace("align 4", "align 16")), 1, 1, (None,))


ARRIVE_LATE = """setp.lt.s32 %q0, %t, 32; @%q0 bra ONE; bra TWO;
ONE: {one} bra END; TWO: {two} END:"""


@pytest.mark.parametrize(
    ("one", "two"),
    [("bar.sync 0;", "bar.sync 0;"), ("bar.sync 0;", ""), ("bar.sync 0;", "ret;")],
)
def test_a_barrier_that_some_never_reach_is_an_error(one: str, two: str) -> None:
    body = ARRIVE_LATE.format(one=one, two=two)
    with pytest.raises(ptx.DivergentBarrierError, match="32 of 64 threads"):
        ptx.run(kernel(body), 1, 64, (None,))
    ptx.run(kernel(body), 1, 32, (None,))  # of whole blocks that go one way: right
    ptx.run(kernel("bar.sync 0;"), 3, 64, (None,))


def test_a_barrier_waits_for_threads_that_come_by_another_way() -> None:
    body = """setp.lt.s32 %q0, %t, 32; @%q0 bra LATE; bra MEET;
    BACK: bra.uni MEET; LATE: bra.uni BACK; MEET: bar.sync 0;"""
    assert ptx.run(kernel(body), 1, 64, (None,)).barriers == 64


def test_without_detection_threads_that_left_are_forgiven() -> None:
    body = ARRIVE_LATE.format(one="bar.sync 0;", two="ret;")
    assert ptx.run(kernel(body), 1, 64, (None,), detect=False).barriers == 32


@pytest.mark.parametrize(
    "body",
    [
        "setp.lt.s32 %q0, %t, 9; @%q0 bra A; ret; A: bar.warp.sync -1;",
        "setp.lt.s32 %q0, %t, 9; @%q0 shfl.sync.down.b32 %r0|%q1, %t, 1, 31, -1;",
        "setp.lt.s32 %q0, %t, 9; @%q0 vote.sync.any.pred %q1, %q0, -1;",
        "setp.lt.s32 %q0, %t, 9; @%q0 bra A; ret;"
        "A: shfl.sync.idx.b32 %r0|%q1, %t, 20, 31, 0x1ff;",
    ],
)
def test_a_warp_must_be_there_as_its_mask_says(body: str) -> None:
    with pytest.raises(ptx.DivergentBarrierError):
        ptx.run(kernel(body), 1, 32, (None,))


def test_shared_memory_must_be_written_before_it_is_read() -> None:
    out = np.zeros(THREADS, np.float32)
    body = "ld.shared.f32 %f0, [%r8]; st.global.f32 [%x0], %f0;"
    with pytest.raises(ptx.UninitialisedError, match="nobody has written"):
        ptx.run(shared(body), 1, THREADS, (out,))
    ptx.run(shared(body), 1, THREADS, (out,), detect=False)
    assert np.isnan(out).all()
    ptx.run(shared(WRITE + body), 1, THREADS, (out,))


def test_an_uninitialised_output_must_be_written_before_it_is_read() -> None:
    out = np.full(THREADS, np.nan, np.float32)
    add = OWN + "ld.global.f32 %f0, [%x0]; add.f32 %f0, %f0, 0f3F800000;"
    add += "st.global.f32 [%x0], %f0;"
    with pytest.raises(ptx.UninitialisedError):
        ptx.run(kernel(add), 1, THREADS, (ptx.Uninitialised(out),))
    write = OWN + "st.global.f32 [%x0], 0f00000000;" + add
    ptx.run(kernel(write), 1, THREADS, (ptx.Uninitialised(out),))
    assert (out == 1).all()


def test_dynamic_shared_memory_has_the_size_of_the_launch() -> None:
    k = kernel("ld.shared.u32 %r0, [d+60];", 1, ".extern .shared .align 16 .b8 d[];\n")
    with pytest.raises(ptx.UninitialisedError):
        ptx.run(k, 1, 1, (None,), shared_bytes=64)
    with pytest.raises(ptx.OutOfBoundsError):
        ptx.run(k, 1, 1, (None,), shared_bytes=60)


def test_each_block_has_its_own_shared_memory() -> None:
    out = np.zeros(THREADS, np.int32)
    body = "st.shared.u32 [%r8], %n; bar.sync 0;"
    body += "ld.shared.u32 %r0, [%r8]; st.global.u32 [%x0], %r0;"
    report = ptx.run(shared(body), 4, 16, (out,))
    np.testing.assert_array_equal(out, ints())
    assert report.shared_bytes == 256
    assert (report.bytes_read, report.bytes_written) == (0, out.nbytes)


def test_messages_name_kernel_line_block_thread_and_instruction() -> None:
    where = ".loc 1 42 7\n st.global.u32 [%p0], %t;"
    with pytest.raises(ptx.RaceError) as caught:
        ptx.run(
            kernel(where, 1, '.file 1 "sum.cu"\n'), (1, 2), 32, (np.zeros(1, np.int32),)
        )
    message = str(caught.value)
    for part in (
        "k sum.cu:42",
        "block (0, 0, 0), thread (0, 0, 0)",
        "argument 0 (4 bytes)",
    ):
        assert part in message
    assert message.count("`st.global.u32 [%p0], %t`") == 2


def test_arguments_go_by_their_names_where_these_are_given() -> None:
    k, one = kernel("st.global.u32 [%p0+4], 1;"), np.zeros(1, np.int32)
    with pytest.raises(ptx.OutOfBoundsError, match=r"of global total \(4 bytes\)"):
        ptx.run(k, 1, 1, (one,), names=["total"])
    with pytest.raises(ptx.PtxError, match="k: total has 8 bytes, got"):
        ptx.run(kernel(""), 1, 1, (np.float32(1.5),), names=["total"])


def test_local_memory_must_be_written_by_its_own_thread() -> None:
    body = (
        ".local .align 4 .b8 d[4]; setp.gt.s32 %q0, %t, {}; @%q0 st.local.u32 [d], 7;"
    )
    body += "ld.local.u32 %r0, [d];"
    ptx.run(kernel(body.format(-1)), 1, 2, (None,))
    with pytest.raises(ptx.UninitialisedError, match=r"thread \(0, 0, 0\)"):
        ptx.run(kernel(body.format(0)), 1, 2, (None,))
