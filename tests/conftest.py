"""What all tests share: optional parts, and the one table of tolerances."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).parent.parent / ".axe/node_modules/axe-core/axe.min.js"
PARTS: dict[str, tuple[str, Callable[[], bool]]] = {
    "torch": (
        "torch is not installed",
        lambda: importlib.util.find_spec("torch") is not None,
    ),
    "browser": (
        "no Chromium, or playwright is not installed",
        lambda: (
            shutil.which("chromium") is not None
            and importlib.util.find_spec("playwright") is not None
        ),
    ),
    "axe": (
        "no axe-core: npm install --prefix .axe axe-core@4.14.1",
        lambda: AXE.exists() and PARTS["browser"][1](),
    ),
    "ptx": (
        "NVRTC or numba-cuda is not installed: pip install 'minivae[ptx]'",
        lambda: _has_ptx(),
    ),
    "cluster": (
        "Dask is not installed: pip install 'minivae[cluster]'",
        lambda: importlib.util.find_spec("distributed") is not None,
    ),
    "site": (
        "Sphinx and what goes with it are not installed: pip install 'minivae[site]'",
        lambda: all(
            importlib.util.find_spec(name)
            for name in ("sphinx", "myst_nb", "sphinx_book_theme", "math_core")
        ),
    ),
    "gpu": ("no CuPy, or no CUDA device", lambda: _has_gpu()),
}
"""The optional parts: why a test of it is skipped, and whether it is here."""


def _has_gpu() -> bool:
    from minivae.backend import cuda_library
    from minivae.errors import UserError

    try:
        cuda_library()
    except UserError:
        return False
    return True


def _has_ptx() -> bool:
    from minivae_kernels import devices

    return not (devices.why_no_ptx() or devices.why_no_numba_cuda())


def required() -> set[str]:
    """The parts that MINIVAE_REQUIRE says must be tested, not skipped."""
    return {part for part in os.environ.get("MINIVAE_REQUIRE", "").split(",") if part}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for part in _parts(item):
        reason, is_here = PARTS[part]
        if is_here():
            continue
        if part in required():
            pytest.fail(f"MINIVAE_REQUIRE names {part}: {reason}", pytrace=False)
        pytest.skip(reason)


def _parts(item: pytest.Item) -> list[str]:
    """The parts that a test needs; the marker gpu is one by itself."""
    parts = [mark.args[0] for mark in item.iter_markers("needs")]
    return [*parts, "gpu"] if item.get_closest_marker("gpu") else parts


def pytest_configure() -> None:
    if unknown := required() - PARTS.keys():
        told = f"MINIVAE_REQUIRE: no part is called {', '.join(sorted(unknown))}"
        raise pytest.UsageError(f"{told}; have {', '.join(PARTS)}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many wrong rules were planted and rejected."""
    rejected = sum(
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "wrong_rules_rejected"
    )
    if rejected:
        terminalreporter.write_line(f"{rejected} wrong rules planted, all rejected")


@pytest.fixture(autouse=True)
def tape_is_on() -> Iterator[None]:
    """No test leaves the engine in another mode than it found."""
    from minivae.tensor import mode

    yield
    assert not mode.paused
    assert mode.observer is None
