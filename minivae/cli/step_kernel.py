"""`minivae step --kernel`: a tiny launch of a CUDA kernel, thread by thread."""

from __future__ import annotations

from pathlib import Path


def step_kernel(
    kernel: str, rung: str | None, html: Path | None, json: Path | None, plain: bool
) -> int:
    """Record a launch and show it: as a page, as JSON, or else as text."""
    from minivae.study.launch import record_launch
    from minivae.study.launch_text import as_text

    recording = record_launch(kernel, rung)
    if json is not None:
        recording.save(json)
        print(json)
    if html is not None:
        from minivae.files import write
        from minivae.page.launch import launch_page

        write(html, launch_page(recording).encode())
        print(html)
    if plain or (json is None and html is None):
        print(as_text(recording), end="")
    return 0
