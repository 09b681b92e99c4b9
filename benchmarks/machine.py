"""What a number was measured on: without it a time says nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info


def machine() -> dict[str, str | int | None]:
    """Return the CPU's model, the cores this process may use, and the BLAS's kernel."""
    blas = numpys_blas()
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "blas": blas.get("internal_api"),
        "blas_kernel": blas.get("architecture"),
        "blas_threads": blas.get("num_threads"),
    }


def numpys_blas() -> dict[str, Any]:
    """Return what NumPy's BLAS says of itself; SciPy may have loaded one of its own."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    pools.sort(key=lambda pool: "numpy" not in str(pool["filepath"]))
    return pools[0] if pools else {}


def versions() -> dict[str, str]:
    """Return the versions of Python, NumPy, its BLAS and minivae."""
    blas = numpys_blas()
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "minivae": own_version(),
    } | ({blas["internal_api"]: str(blas["version"])} if blas else {})


def own_version() -> str:
    """Return minivae's version; of a tree that is not installed, what it says."""
    try:
        return importlib.metadata.version("minivae")
    except importlib.metadata.PackageNotFoundError:
        project = Path(__file__).parent.parent / "pyproject.toml"
        return str(tomllib.loads(project.read_text("utf-8"))["project"]["version"])


def cpu_model() -> str:
    """Return the CPU's name for itself, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if "model name" in line)
    return next(names, "") or platform.processor() or platform.machine()


def cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def described() -> str:
    """Return the machine and the versions in one sentence."""
    here, used = machine(), versions()
    blas = str(here["blas"])
    return (
        f"{here['cpu']}, {here['cores']} cores, {here['system']}; {blas} "
        f"{used.get(blas, '')} with the {here['blas_kernel']} kernel on "
        f"{here['blas_threads']} threads; Python {used['python']}, NumPy "
        f"{used['numpy']}, minivae {used['minivae']}"
    )
