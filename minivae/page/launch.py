"""The page of a launch: which thread touches which cell, request after request.

Title, verdict and the whole walk as a table are written here and stand without scripts;
launch.js draws the memory as it is at one request. A row of cells of global memory is
a sector of 32 bytes, the least that the memory moves.
"""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import Any

from minivae.page import kit
from minivae.study.launch import Launch, LaunchRecording, Memory, Request
from minivae.study.launch_text import access, fault_words, pattern, shape, spans

SCRIPTS = ("player.js", "launch.js")
STYLES = ("style.css", "player.css", "launch.css")
MOST_PHASES = 8
VERBS = {"reads": "read", "writes": "write", "updates": "update", "takes": "take"}


def launch_page(recording: LaunchRecording) -> str:
    """Return the HTML page of a recorded launch: one file that fetches nothing."""
    steps = _steps(recording)
    names = [step["phase"] for step in steps]
    phases = [(name, len(list(run))) for name, run in groupby(names)]
    body = [
        _header(recording),
        kit.player(phases),
        '<article id="card" class="card" aria-labelledby="card-title">'
        '<h2 id="card-title">The walk</h2><noscript><p class="note">To step through '
        "it takes a script, and scripts are off here. The table below has every "
        "request.</p></noscript></article>",
        _walk(recording),
        kit.footer(kit.BY_KEYS),
    ]
    data = {"steps": steps, "launches": [_launch(x) for x in recording.launches]}
    title = f"{recording.rung}: its threads"
    return kit.page(title, "\n".join(body), STYLES, SCRIPTS, data)


def _header(recording: LaunchRecording) -> str:
    requests = [request for _, _, request in recording.steps()]
    threads = sum(_threads(launch) for launch in recording.launches)
    facts = {
        "launches": len(recording.launches),
        "threads": threads,
        "requests": len(requests),
        "bytes of global memory": _bytes(requests),
        "sectors": sum(request.sectors for request in requests),
    }
    cells = "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in facts.items())
    verdict = "".join(
        kit.paragraph(
            f"✗ {fault_words(launch.fault)[0].upper()}{fault_words(launch.fault)[1:]}.",
            "verdict",
        )
        for launch in recording.launches
        if launch.fault
    )
    return (
        "<header>"
        + kit.paragraph("minivae: a kernel, thread by thread", "eyebrow")
        + f"<h1>{escape(recording.rung)}</h1>"
        + kit.paragraph(f"{recording.family}: {recording.idea}.", "lead")
        + f'{verdict}<dl class="numbers">{cells}</dl></header>'
    )


def _threads(launch: Launch) -> int:
    count = 1
    for extent in (*launch.grid, *launch.block):
        count *= extent
    return count


def _bytes(requests: list[Request]) -> int:
    """Bytes read and written; an update does both."""
    return sum(
        request.bytes * (2 if request.kind == "updates" else 1)
        for request in requests
        if request.space == "global"
    )


# What launch.js draws


def _steps(recording: LaunchRecording) -> list[dict[str, Any]]:
    """Return every request, and at the end of a launch its fault, as data."""
    found: list[dict[str, Any]] = []
    several = len(recording.launches) > 1
    for number, launch in enumerate(recording.launches):
        moved = {"bytes": 0, "sectors": 0}
        for epoch, requests in enumerate(launch.epochs):
            phase = f"launch {number + 1}" if several else _phase(launch, epoch)
            for request in requests:
                moved["bytes"] += _bytes([request])
                moved["sectors"] += request.sectors
                source = recording.sources.get(request.line, "")
                found.append(
                    {
                        "phase": phase,
                        "launch": number,
                        "epoch": epoch,
                        "source": source,
                        "moved": dict(moved),
                        **_request(request),
                    }
                )
        if launch.fault:
            fault = launch.fault
            found.append(
                {
                    **found[-1],
                    "fault": {
                        "words": fault_words(fault),
                        "message": fault.message,
                        "space": fault.space,
                        "array": fault.array,
                        "cell": fault.offset // fault.item,
                        "threads": fault.threads,
                        "lines": fault.lines,
                    },
                }
            )
    return found


def _phase(launch: Launch, epoch: int) -> str:
    if len(launch.epochs) > MOST_PHASES:
        return "epochs"
    return f"epoch {epoch + 1}"


def _request(request: Request) -> dict[str, Any]:
    cell = 1 if request.space == "warp" else request.item
    return {
        "kind": request.kind,
        "space": request.space,
        "array": request.array,
        "line": request.line,
        "words": pattern(request),
        "access": access(request),
        "bytes": request.bytes,
        "sectors": request.sectors,
        "touches": [
            [t.block, t.thread, t.offset // cell, *t.values] for t in request.touches
        ],
    }


def _launch(launch: Launch) -> dict[str, Any]:
    return {
        "kernel": launch.kernel,
        "language": launch.language,
        "grid": shape(launch.grid),
        "block": shape(launch.block),
        "blocks": launch.grid[0] * launch.grid[1] * launch.grid[2],
        "epochs": len(launch.epochs),
        "memories": [_memory(memory) for memory in launch.memories],
    }


def _memory(memory: Memory) -> dict[str, Any]:
    return {
        "name": memory.name,
        "space": memory.space,
        "cells": memory.size // memory.item,
        "item": memory.item,
        "shape": memory.shape,
    }


# The walk as a table


def _walk(recording: LaunchRecording) -> str:
    """Every request in a row; a group of rows is an epoch, the lines between walls."""
    heads = ("step", "epoch", "threads", "do", "cells", "line", "bytes", "sectors")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    number, groups = 0, []
    for launch in recording.launches:
        for epoch, requests in enumerate(launch.epochs, 1):
            rows = [_row(number + k, epoch, r) for k, r in enumerate(requests, 1)]
            number += len(rows)
            groups.append(f"<tbody>{''.join(rows)}</tbody>")
        if launch.fault:
            number += 1
            words = escape(f"✗ {fault_words(launch.fault)}")
            groups.append(
                f'<tbody><tr><th scope="row">{_link(number)}</th>'
                f'<td colspan="{len(heads) - 1}">{words}</td></tr></tbody>'
            )
    caption = "Every request: one instruction, by threads side by side"
    return kit.section(
        "The whole walk",
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}">'
        f'<table class="walk"><caption>{caption}. A thick line is a barrier, or the '
        f"next launch.</caption><thead><tr>{head}</tr></thead>{''.join(groups)}"
        "</table></div>",
    )


def _row(number: int, epoch: int, request: Request) -> str:
    threads = spans(touch.thread for touch in request.touches)
    cells = (
        *(str(epoch), threads, VERBS[request.kind]),
        f"{request.space} {request.array}, {access(request)}",
        *(request.line, str(request.bytes), str(request.sectors or "–")),
    )
    rest = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr><th scope="row">{_link(number)}</th>{rest}</tr>'


def _link(number: int) -> str:
    return f'<a href="#step={number}">{number}</a>'
