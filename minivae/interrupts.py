"""Being asked to stop, and stopping where nothing is lost."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C, and what `kill` sends


class Interrupts:
    """A context in which Ctrl-C and SIGTERM only set `asked`.

    Whoever works in it looks there where it can stop. A second Ctrl-C raises
    `KeyboardInterrupt` at once. Python hears signals in its main thread alone: in
    others nothing is ever asked.
    """

    def __init__(self) -> None:
        self.asked = False
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # one that is ignored stays so (nohup), as does one that is not Python's
                if signal.getsignal(number) not in (None, signal.SIG_IGN):
                    self.before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        if self.asked and error is None:  # too late for anybody to look
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
