"""A recorded launch in words: what a reader sees in a terminal, 80 columns wide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby, pairwise
from textwrap import wrap

from minivae.study.launch import WARP, Fault, Launch, LaunchRecording, Request, Touch

WIDTH = 80


def as_text(recording: LaunchRecording) -> str:
    """Return the whole walk: launches, epochs, requests, and the fault if any."""
    title = f"{recording.family}, {recording.rung}: {recording.idea}"
    lines = [*wrap(title, WIDTH)]
    for number, launch in enumerate(recording.launches, 1):
        lines += ["", *_launch(recording, launch, number)]
    return "\n".join(lines) + "\n"


def _launch(recording: LaunchRecording, launch: Launch, number: int) -> list[str]:
    lines = [
        f"LAUNCH {number} of {len(recording.launches)}: {launch.kernel} "
        f"({launch.language}), grid {shape(launch.grid)}, block {shape(launch.block)}"
    ]
    read = written = sectors = step = 0
    for epoch, requests in enumerate(launch.epochs):
        lines += [*([_wall(epoch)] if epoch else []), f"epoch {epoch + 1}"]
        for request in requests:
            step += 1
            if request.space == "global":
                read += request.bytes * (request.kind != "writes")
                written += request.bytes * (request.kind != "reads")
                sectors += request.sectors
            lines += _request(recording, request, step)
    lines.append(
        f"global memory: {read} bytes read, {written} written, {sectors} sectors"
    )
    if launch.fault:
        lines += ["", *_fault(launch.fault)]
    return lines


def _wall(epoch: int) -> str:
    return f" barrier {epoch} ".center(WIDTH, "─")


def _request(recording: LaunchRecording, request: Request, step: int) -> list[str]:
    head = f"{step:4}  {request.kind:7} {request.space} {request.array}"
    tail = f"{request.bytes} bytes"
    if request.sectors:
        tail += f", {request.sectors} sector{'s' * (request.sectors > 1)}"
    lines = (
        [head + tail.rjust(WIDTH - len(head))] if len(head + tail) < WIDTH else [head]
    )
    if request.line:
        source = f"{request.line}  {recording.sources.get(request.line, '')}"
        lines += [_cut(f"      {source}")]
    lines += [f"      {words}" for words in pattern(request)]
    return lines


def _fault(fault: Fault) -> list[str]:
    told = [f"FAULT in epoch {fault.epoch + 1}: {fault_words(fault)}", fault.message]
    return [line for text in told for line in wrap(text, WIDTH)]


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


# Words that the page uses too


def shape(extents: tuple[int, ...]) -> str:
    """Return `256` or `16 × 16` for extents in x, y, z."""
    kept = list(extents)
    while len(kept) > 1 and kept[-1] == 1:
        kept.pop()
    return " × ".join(map(str, kept))


def fault_words(fault: Fault) -> str:
    """Say in a sentence who met where."""
    if len(fault.threads) < 2:
        return fault.kind
    (block, now), (other, before) = fault.threads[:2]
    cell = f"{fault.space} {fault.array}[{fault.offset // fault.item}]"
    where = (
        f" of block {block}" if block == other else f" of blocks {block} and {other}"
    )
    return f"a race of threads {now} and {before}{where} on {cell}: no barrier between"


def pattern(request: Request) -> list[str]:
    """Say which threads touch which cells, a line for each stretch of a block."""
    lines = []
    for block, touches in groupby(request.touches, key=lambda touch: touch.block):
        run = list(touches)
        threads = spans(touch.thread for touch in run)
        told = f"block {block}: threads {threads} {_cells(request, run)}"
        lines.append(told if len(told) < WIDTH - 6 else f"{told[: WIDTH - 7]}…")
    if len(lines) > 4:
        lines[3:] = [f"and so {len(lines) - 3} more blocks"]
    return lines


def _cells(request: Request, run: list[Touch]) -> str:
    if request.space == "warp":
        away = {touch.offset - touch.thread % WARP for touch in run}
        lanes = spans(touch.offset for touch in run)
        kept = away - {0}  # lanes past the end keep their own
        return f"← lane {kept.pop():+d}" if len(kept) == 1 else f"← lanes {lanes}"
    cells = [touch.offset // request.item for touch in run]
    width = len(run[0].values)
    steps = Counter(b - a for a, b in pairwise(cells))
    if len(cells) == 1 and width == 1:
        return f"→ cell {cells[0]}"
    where = f"→ cells {spans(c + k for c in cells for k in range(width))}"
    if not steps:
        return where
    step, count = steps.most_common(1)[0]
    if 2 * count < len(cells):
        return f"{where}, scattered"
    names = {0: "one for several", width: "neighbours"}
    mostly = "mostly " if len(steps) > 1 else ""
    if not (step or mostly):
        return f"→ cell {cells[0]}, one for all"
    return f"{where}, {mostly}{names.get(step, f'stride {step}')}"


def access(request: Request) -> str:
    """Name the pattern of a request: neighbours, stride, one for all, scattered."""
    first = next(groupby(request.touches, key=lambda touch: touch.block))[1]
    return _cells(request, list(first)).rpartition(", ")[2].removeprefix("→ ")


def spans(numbers: Iterable[int]) -> str:
    """Return `0–3, 8` for 0, 1, 2, 3, 8."""
    kept = sorted(set(numbers))
    runs = groupby(enumerate(kept), key=lambda pair: pair[1] - pair[0])
    ends = [(members[0][1], members[-1][1]) for _, m in runs if (members := list(m))]
    return ", ".join(f"{a}" if a == b else f"{a}–{b}" for a, b in ends)
