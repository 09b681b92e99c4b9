"""What is known of one training step, as plain data: version 2.

    settings     what was run: model, config, seed, batch, beta, dtype, versions
    leaves       what went in: images, noise, parameters, constants, numbers
    nodes        every op that was applied, in the order of execution
    events       backward: every contribution and un-broadcast, in the order of adding
    terms        the loss by image, and by latent where there are any
    update       what the optimizer did, and what became of the loss

Everything is named twice: by `id` ("l0", "n4"), which references use, and by `name`
("mu", "encoder.1.weight"), which a reader knows. Both are unique in a recording.

Nothing here computes. `study.tape` replays a recording, `study.exact_json` writes and
reads it. Fields are only ever added: a view of today can show a recording of tomorrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from minivae.backend import Array
from minivae.errors import UserError
from minivae.files import write
from minivae.gradcheck import Claim

notebook: Any = None  # bound to minivae.page.notebook by minivae/__init__, for `show`

FORMAT, VERSION = "minivae step", 2

Value: TypeAlias = Array | float
"""An array, or a Python number: one that came down unchanged from the seed 1.0, or a 0
for an output that nobody used, or a factor such as beta."""

GROUPS = ("encoder", "sampling", "decoder", "model", "loss")
"""The groups of nodes, from left to right; "model" is one without encoder and decoder.

A node belongs to the module whose code made it. One that no module made is "sampling"
if a decoder's (or a model's) value depends on it, else "loss".
"""
KINDS = ("input", "noise", "parameter", "constant", "number")
"""What a leaf is. A constant is an array that is none of the others: a target that was
worked out without the tape, or a value that an estimator holds. A number is Python's.
"""


@dataclass(frozen=True)
class Source:
    """Lines of code: `text` is the line of an op's call, or a whole rule."""

    file: str = ""  # relative: "minivae/nn.py", or a learner's "mymodule.py"
    line: int = 0  # of the first line of the text; 0 if it is not known
    text: str = ""

    def __str__(self) -> str:
        """Return file:line."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Rule:
    """How the adjoint of one input is computed, in words and in code."""

    input: str  # what the op calls the input: "logvar"
    formula: str  # "ℓ̄ = ½ z̄ ε e^(ℓ/2)"
    source: Source


@dataclass(frozen=True)
class Ref:
    """What a node uses: one output of a node, or a leaf.

    With a `shape`, the elements in that shape, again from the first when they are used
    up: images laid out flat (N, D), or repeated for each of several draws.
    """

    id: str
    output: int = 0
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class Output:
    """A value that a node made; `name` is its field where a node makes several."""

    name: str
    value: Value


@dataclass(frozen=True)
class Check:
    """A gradient beside a number that is independent of it.

    kind "local": the rule of one input alone, under a random upstream u: the rule's
    uᵀ ∂y/∂x against the difference quotient of uᵀ y. `position` says which input.
    kind "global": ∂loss/∂value of a node's output (or a leaf), as backward made it,
    against the loss replayed with that value moved. `position` says which output.

    method "element": every element was moved, `index` is the worst. "sample": some
    elements were. "projection": only random directions were, and there is no index.
    "none": nothing could be compared, which is no failure; `claim.claim` says why: too
    many elements on kinks, where no derivative exists, or values that are not finite.
    `claim.measured` is the analytic number, `claim.exact` the numeric one.
    """

    kind: str
    position: int
    method: str
    index: tuple[int, ...] | None
    claim: Claim

    @property
    def failed(self) -> bool:
        """Whether two numbers differ, or a rule cannot be run."""
        return not self.claim.passed and self.method != "none"


@dataclass(frozen=True, eq=False)
class Leaf:
    """An array or a number that went into the step.

    `traced` says that a replay with another value is what the model would compute:
    measured for inputs and noise; False where a model uses it outside the tape.
    """

    id: str
    name: str  # "x", "eps", "encoder.1.weight", "beta"
    kind: str  # one of KINDS
    group: str  # that of its first consumer
    value: Value
    traced: bool = True
    checks: tuple[Check, ...] = ()  # global


@dataclass(frozen=True, eq=False)
class Node:
    """One op that was applied.

    `steps` is what is inside, as nodes whose ids begin with this one's ("n4.0"): the
    `unfused` composition of a fused op, or, if `folded`, the ops of a module. They use
    this node's inputs, each other, and `constants`, leaves of their own ("n4.l0").
    """

    id: str
    name: str
    group: str  # one of GROUPS
    module: str  # dotted path in the model: "decoder.0"; "" outside of any
    op: str
    formula: str
    inputs: tuple[Ref, ...]
    params: dict[str, Any]
    outputs: tuple[Output, ...]
    source: Source
    rules: tuple[Rule | None, ...]  # for each input, None where it is constant
    rungs: tuple[str, ...] = ()  # kernels the forward ran: "bernoulli/bernoulli_numba"
    rule_rungs: tuple[str, ...] = ()  # kernels its rules ran
    checks: tuple[Check, ...] = ()  # local ones by input, then global ones by output
    steps: tuple[Node, ...] = ()
    constants: tuple[Leaf, ...] = ()
    folded: bool = False
    makes: tuple[Ref, ...] = ()  # if folded: which value of a step each output is

    @property
    def value(self) -> Value:
        """The first output's value, of most nodes the only one."""
        return self.outputs[0].value

    def failed(self, kind: str) -> list[Check]:
        """Return the checks of a kind that did not pass."""
        return [check for check in self.checks if check.kind == kind and check.failed]


@dataclass(frozen=True, eq=False)
class Event:
    """Backward: a rule has been applied, or its result summed to an input's shape.

    kind "contribution": the rule of node `sender` for its input `position` turned
    `upstream` (one for each output of the sender) into `gradient`. If that has the
    shape of the input it `adds`; else an "unbroadcast" follows, whose `upstream` is
    that gradient and whose `gradient` is the sum over `axes`, which adds.

    What adds is contribution number `count` to output `output` of `receiver`, whose
    adjoint has then come to `total`.
    """

    kind: str
    sender: str
    position: int
    receiver: str  # a node or a leaf
    output: int
    upstream: tuple[Value, ...]
    gradient: Value
    axes: tuple[int, ...] = ()
    adds: bool = True
    count: int = 1
    total: Value | None = None


@dataclass(frozen=True)
class Element:
    """One element of a node's output or of a leaf, or a part: index (2,) is row 2."""

    id: str
    output: int
    index: tuple[int, ...]


@dataclass(frozen=True)
class Column:
    """A column of the table of terms.

    kind "recon", "kl" (one latent, or all where they cannot be told apart), "weighted"
    (what the KL comes to in the loss) or "total". `exact` tells a closed form from an
    estimate at a draw; `adds` whether the column is part of the total.
    """

    name: str
    kind: str
    exact: bool
    adds: bool


@dataclass(frozen=True)
class Cell:
    """A number of the table, and where it comes from: whole nodes, and elements."""

    value: float
    nodes: tuple[str, ...]
    elements: tuple[Element, ...]


@dataclass(frozen=True)
class Terms:
    """The loss by image: `cells` has a row for each, `means` is what is optimised.

    The columns that add make up the total of each row; its mean is the loss.
    """

    formula: str  # "−ELBO = recon + beta kl"
    unit: str  # "nats"
    columns: tuple[Column, ...]
    cells: tuple[tuple[Cell, ...], ...]
    means: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class ParameterUpdate:
    """What the optimizer did to one parameter, and to its own state for it.

    `predicted` is Σ gradient ⊙ (new value − value): this parameter's part of the
    predicted change of the loss.
    """

    id: str  # the leaf's
    name: str
    gradient: Array
    value: Array
    new_value: Array
    state: dict[str, Array]  # the moments before: "exp_avg", ...
    new_state: dict[str, Array]
    predicted: float


@dataclass(frozen=True, eq=False)
class Update:
    """The optimizer's step. The loss is measured again on the same batch and noise."""

    optimizer: str  # "Adam"
    formula: str
    settings: dict[str, float]  # "lr", ..., as numbers
    gradient_norm: float
    parameters: tuple[ParameterUpdate, ...]
    loss: float
    loss_predicted: float  # loss + Σ gradient ⊙ (new value − value)
    loss_after: float


@dataclass(frozen=True)
class Settings:
    """What was run."""

    model: str  # "VAE"
    config: dict[str, Any]  # the model's own options
    seed: int | None
    batch: int
    beta: float | None  # None where there is no KL
    dtype: str
    backend: str  # "numpy", "cupy"; with kernels in the interpreter "numpy, ptx"
    versions: dict[str, str]


@dataclass(frozen=True, eq=False)
class Recording:
    """One step. `loss` is the output that backward started from."""

    title: str
    settings: Settings
    leaves: tuple[Leaf, ...]
    nodes: tuple[Node, ...]
    events: tuple[Event, ...]
    loss: Ref
    terms: Terms | None = None
    update: Update | None = None
    format: str = FORMAT
    version: int = VERSION
    notes: tuple[str, ...] = field(default=())  # what a reader should know

    @property
    def items(self) -> tuple[Leaf | Node, ...]:
        """Leaves, then nodes in the order of execution."""
        return self.leaves + self.nodes

    @cached_property
    def by_id(self) -> dict[str, Leaf | Node]:
        """Leaves and nodes by id."""
        return {item.id: item for item in self.items}

    @cached_property
    def by_name(self) -> dict[str, Leaf | Node]:
        """Leaves and nodes by name."""
        return {item.name: item for item in self.items}

    def named(self, name: str) -> Leaf | Node:
        """Return a leaf or node by name or id; raises `UserError` if there is none."""
        found = self.by_name.get(name) or self.by_id.get(name)
        if found is None:
            raise UserError(f"nothing is called {name!r} in this recording")
        return found

    def label(self, ref: Ref) -> str:
        """Return what a reader calls what a reference points to: "z", "z_kl.kl"."""
        item = self.by_id[ref.id]
        if isinstance(item, Node) and len(item.outputs) > 1:
            return f"{item.name}.{item.outputs[ref.output].name}"
        return item.name

    def value_of(self, ref: Ref) -> Value:
        """Return the value that a reference points to, before any `shape`."""
        item = self.by_id[ref.id]
        return item.value if isinstance(item, Leaf) else item.outputs[ref.output].value

    def adjoint_of(self, ref: Ref) -> Value | None:
        """Return ∂loss/∂value as it was after the last contribution, if any came."""
        if (ref.id, ref.output) == (self.loss.id, self.loss.output):
            return 1.0
        for event in reversed(self.events):
            if event.adds and (event.receiver, event.output) == (ref.id, ref.output):
                return event.total
        return None

    @property
    def ops(self) -> Iterator[Node]:
        """Every op in the order of execution, those inside of folded nodes too."""
        for node in self.nodes:
            yield from node.steps if node.folded else (node,)

    def checks(self, kind: str) -> Iterator[tuple[Leaf | Node, Check]]:
        """Yield every check of a kind with what it is of, in the order of execution."""
        items: tuple[Leaf | Node, ...] = (*self.leaves, *self.ops)
        for item in items:
            for check in item.checks:
                if check.kind == kind:
                    yield item, check

    def first_fault(self) -> tuple[Node, Check] | None:
        """Return the first op of which a rule fails by itself, and how."""
        for node in self.ops:
            for check in node.failed("local"):
                return node, check
        return None

    @property
    def loss_value(self) -> float:
        """The loss as a number."""
        return float(self.value_of(self.loss))

    def replay(self, changes: Mapping[str, Any] | None = None) -> float:
        """Return the loss computed again from the leaves, some of them changed.

        `changes` gives new values by name: a whole array or number, or {index: number}
        for single elements. Without changes the loss is the same, bit for bit. Raises
        `UserError` where a change could not be followed (`Leaf.traced`).
        """
        from minivae.study.tape import Tape

        return Tape(self).loss(changes)

    def show(self) -> Any:
        """Return what a notebook shows as the step's page, and a prompt as its text."""
        return notebook.Shown(self)

    def to_json(self) -> str:
        """Return the recording as JSON, whole arrays included."""
        from minivae.study.exact_json import dumps

        return dumps(self)

    def save(self, path: str | Path) -> None:
        """Write the JSON to a file: all of it, or nothing."""
        write(Path(path), self.to_json().encode())

    @classmethod
    def loads(cls, text: str) -> Recording:
        """Return the recording that `to_json` made the text of."""
        from minivae.study.exact_json import loads

        return loads(text)

    @classmethod
    def load(cls, path: str | Path) -> Recording:
        """Read a recording that `save` wrote; raises `UserError` for anything else."""
        from minivae.study.exact_json import load

        return load(Path(path))
