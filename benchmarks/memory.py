"""The peak of a process's resident memory since a moment, as Linux counts it.

`ru_maxrss` will not do: a process starts with the peak of the one that it was forked
from, and a peak before that moment cannot be forgotten.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
FORGET_PEAK = "5"  # written to CLEAR; see proc(5)
NOW, PEAK = "VmRSS", "VmHWM"


class Memory:
    """Resident memory since this was made, in MB of 10**6 bytes."""

    def __init__(self) -> None:
        with suppress(OSError):  # where that is not allowed, the peak may be an older
            CLEAR.write_text(FORGET_PEAK)
        self.start_mb = _read(NOW)

    def peak_mb(self) -> float | None:
        """Return the peak above the start; None where the system does not tell."""
        peak = _read(PEAK)
        if peak is None or self.start_mb is None:
            return None
        return peak - self.start_mb


def _read(field: str) -> float | None:
    try:
        lines = STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    values = (line.split()[1] for line in lines if line.startswith(f"{field}:"))
    kib = next(values, None)
    return None if kib is None else int(kib) * 1024 / 1e6
