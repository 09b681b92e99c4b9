"""A recorded step, one thing at a time: what `minivae step` shows and obeys.

A `Walk` knows where it is and answers each command with lines of at most 80 columns. It
reads no keys and draws no screen, so that a pipe, a test and a terminal take one path.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from minivae.study import plain
from minivae.study.plain import INDENT, WIDTH, wrapped
from minivae.study.recording import (
    Check,
    Event,
    Leaf,
    Node,
    ParameterUpdate,
    Recording,
)

HELP = """\
n  next                  f  forward: the first op
p  previous              b  backward: the first contribution
g  go to a name          u  update: the first parameter
e  the loss by image     c  the checks of what is shown, or all at the start
o  open a fused op       q  quit                            ?  this help
"""
KEYS = "n next  p back  f forward  b backward  u update  g go  e ELBO  c checks  q quit"


@dataclass(frozen=True)
class Stop:
    """A place on the walk: its phase, and its number in it, from 0."""

    phase: str  # "start", "forward", "backward" or "update"
    number: int = 0


class Walk:
    """A position in a recording, and what can be seen from there."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        updates = recording.update.parameters if recording.update else ()
        self.sizes = {
            "start": 1,
            "forward": len(recording.nodes),
            "backward": len(recording.events),
            "update": len(updates),
        }
        self.stops = [
            Stop(phase, i) for phase, size in self.sizes.items() for i in range(size)
        ]
        self.at = 0
        self.commands: dict[str, Callable[[str], list[str]]] = {
            "n": lambda _: self._go(self.at + 1),
            "p": lambda _: self._go(self.at - 1),
            "f": lambda _: self._phase("forward"),
            "b": lambda _: self._phase("backward"),
            "u": lambda _: self._phase("update"),
            "g": self._name,
            "e": lambda _: plain.terms(self.recording),
            "c": lambda _: self._checks(),
            "o": lambda _: self._open(),
            "?": lambda _: HELP.rstrip().splitlines(),
        }

    def obey(self, command: str) -> list[str]:
        """Return what a command shows: a key, or "g NAME". Nothing means next."""
        key, _, rest = command.strip().partition(" ")
        answer = self.commands.get(key or "n")
        if answer is None:
            return [f"no command {key!r}; ? lists them"]
        return answer(rest.strip())

    @property
    def done(self) -> bool:
        """Whether this is the last stop."""
        return self.at == len(self.stops) - 1

    def here(self) -> list[str]:
        """Return the stop as lines: a title, then what happens."""
        stop = self.stops[self.at]
        if stop.phase == "start":
            return self._start()
        if stop.phase == "forward":
            node = self.recording.nodes[stop.number]
            return [*self._title(stop, node.group), *self._forward(node, stop)]
        if stop.phase == "backward":
            event = self.recording.events[stop.number]
            return [*self._title(stop, ""), *self._backward(event, stop)]
        assert self.recording.update is not None
        update = self.recording.update.parameters[stop.number]
        return [*self._title(stop, ""), *self._update(update, stop)]

    def _title(self, stop: Stop, note: str) -> list[str]:
        left = f"{stop.phase} {stop.number + 1} of {self.sizes[stop.phase]}"
        left += f", {note}" if note else ""
        room = WIDTH - len(left) - 2
        right = textwrap.shorten(self.recording.title, room, placeholder=" ...")
        return [f"{left}  {right:>{room}}", "-" * WIDTH]

    # Moving

    def _go(self, at: int) -> list[str]:
        if not 0 <= at < len(self.stops):
            return ["this is the last step" if at > 0 else "this is the start"]
        self.at = at
        return self.here()

    def _phase(self, phase: str) -> list[str]:
        stop = Stop(phase)
        if stop not in self.stops:
            return [f"nothing to see {phase}: {' '.join(self.recording.notes)}"]
        return self._go(self.stops.index(stop))

    def _name(self, name: str) -> list[str]:
        """Go to the op of a name; to a leaf's first consumer, or its update."""
        if not name:
            return ["g NAME: a node or parameter, as in: g mu"]
        names = {**self.recording.by_name, **self.recording.by_id}
        item = names.get(name)
        if item is None:
            close = [known for known in self.recording.by_name if name in known]
            hint = f"; is it {', '.join(close[:6])}?" if close else ""
            return wrapped(f"nothing is called {name!r}{hint}")
        if isinstance(item, Node):
            place = self.recording.nodes.index(item)
            return self._go(self.stops.index(Stop("forward", place)))
        updates = self.recording.update.parameters if self.recording.update else ()
        for number, update in enumerate(updates):
            if update.id == item.id:
                return self._go(self.stops.index(Stop("update", number)))
        shape = f" {np.shape(item.value)}" if np.shape(item.value) else ""
        return [f"{item.name}{shape}, {item.kind}", plain.numbers(item.value)]

    # What is shown

    def _start(self) -> list[str]:
        recording = self.recording
        lines = [*wrapped(recording.title), "=" * WIDTH]
        lines += [line for note in recording.notes for line in wrapped(note)]
        lines += plain.inputs(recording)
        groups: dict[str, list[str]] = {}
        for node in recording.nodes:
            groups.setdefault(node.group, []).append(node.name)
        lines.append("")
        for group, names in groups.items():
            shown = ", ".join(names)
            lines += textwrap.wrap(
                f"{group:<9} {shown}", WIDTH, subsequent_indent=" " * 10
            )[:4]
        counts = ", ".join(
            f"{self.sizes[phase]} {what}"
            for phase, what in (
                ("forward", "ops forward"),
                ("backward", "events backward"),
                ("update", "parameters updated"),
            )
        )
        return [*lines, "", counts, *verdicts(recording)]

    def _forward(self, node: Node, stop: Stop) -> list[str]:
        lines = plain.forward(self.recording, stop.number + 1, node)
        if node.steps:
            kind = "folded" if node.folded else "fused"
            lines.append(f"{INDENT}{kind}, {len(node.steps)} steps inside: o opens it")
        return [*lines, *_said(node.checks)]

    def _backward(self, event: Event, stop: Stop) -> list[str]:
        lines = plain.backward(self.recording, stop.number + 1, event)
        sender = self.recording.by_id[event.sender]
        assert isinstance(sender, Node)
        rule = sender.rules[event.position]
        checks: list[Check] = []
        if event.kind == "contribution":
            if rule is not None and rule.source.line:
                lines += plain.code(rule.source, _last_statement(rule.source.text))
            checks += [
                check
                for check in sender.checks
                if check.kind == "local" and check.position == event.position
            ]
        if self._is_last(event):
            receiver = self.recording.by_id[event.receiver]
            checks += [
                check
                for check in receiver.checks
                if check.kind == "global" and check.position == event.output
            ]
        return [*lines, *_said(tuple(checks))]

    def _is_last(self, event: Event) -> bool:
        """Tell whether this completes the receiver's adjoint."""
        mine = [
            other
            for other in self.recording.events
            if other.adds
            and (other.receiver, other.output) == (event.receiver, event.output)
        ]
        return event.adds and mine[-1] is event

    def _update(self, update: ParameterUpdate, stop: Stop) -> list[str]:
        found = self.recording.update
        assert found is not None
        lines = wrapped(f"{found.optimizer}: {found.formula}")
        lines += plain.parameter(update)
        lines.append(
            f"{INDENT}its part of the predicted change of the loss: "
            f"{update.predicted:+.6f}"
        )
        if stop.number == self.sizes["update"] - 1:
            lines += ["", *plain.verdict(self.recording)]
        return lines

    def _open(self) -> list[str]:
        stop = self.stops[self.at]
        node = self.recording.nodes[stop.number] if stop.phase == "forward" else None
        if node is None or not node.steps:
            return ["nothing to open here: o opens a fused op, forward"]
        title = "the ops of this module" if node.folded else "the same, in simple ops"
        lines = [f"{node.name} = {node.op}, opened: {title}", "-" * WIDTH]
        inside = _inside(self.recording, node)
        for number, step in enumerate(node.steps, 1):
            lines += plain.forward(inside, number, step)
        return lines

    def _checks(self) -> list[str]:
        stop = self.stops[self.at]
        if stop.phase == "forward":
            item: Node | Leaf = self.recording.nodes[stop.number]
        elif stop.phase == "backward":
            item = self.recording.by_id[self.recording.events[stop.number].sender]
        else:
            return plain.checks(self.recording) or ["this was recorded without checks"]
        lines = [f"checks of {item.name}", "-" * WIDTH]
        for check in item.checks:
            lines += [f"{check.kind}: {mark(check)}"]
            lines += wrapped(check.claim.claim, INDENT)
        return lines if item.checks else ["this was recorded without checks"]


def mark(check: Check) -> str:
    """Return a check's outcome in words."""
    if check.method == "none":
        return f"no verdict, {check.claim.claim}"
    return "WRONG" if check.failed else f"right, relative error {check.claim.error:.0e}"


def verdicts(recording: Recording) -> list[str]:
    """Return a line on all rules and one on all gradients, if they were checked."""
    lines = []
    for kind, what in (("local", "rules"), ("global", "gradients of the loss")):
        found = [check for _, check in recording.checks(kind)]
        wrong = sum(check.failed for check in found)
        silent = sum(check.method == "none" for check in found)
        if found:
            verdict = f"{len(found)} {what} checked, {wrong} wrong"
            lines.append(verdict + (f", {silent} without a verdict" if silent else ""))
    return lines


def _said(checks: tuple[Check, ...]) -> list[str]:
    """Return a line for what kind of check there is; what failed, in full."""
    lines = []
    for kind, what in (("local", "its rule"), ("global", "the gradient of the loss")):
        mine = [check for check in checks if check.kind == kind]
        wrong = [check for check in mine if check.failed]
        if not mine:
            continue
        what = what + ("s" if kind == "local" and len(mine) > 1 else "")
        worst = max(mine, key=lambda check: check.claim.error)
        lines.append(f"{INDENT}{what}: {mark(wrong[0] if wrong else worst)}")
        for check in wrong:
            lines += wrapped(check.claim.claim, INDENT)
    return lines


def _last_statement(text: str) -> str:
    """Return what a rule returns, or its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    returns = [i for i, line in enumerate(lines) if line.startswith("return ")]
    return " ".join(lines[returns[-1] :]) if returns else lines[-1]


def _inside(recording: Recording, node: Node) -> Recording:
    """Return the steps of a node as a recording of their own, for their labels."""
    return replace(
        recording,
        leaves=(*recording.leaves, *node.constants),
        nodes=(*recording.nodes, *node.steps),
    )
