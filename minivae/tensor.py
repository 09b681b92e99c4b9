"""The engine: tensors, operations, and the tape that plays gradients backward.

An `Op` is a pure function on arrays together with one rule for each of its inputs. A
rule is the vector-Jacobian product: given the adjoint ȳ = ∂loss/∂y of the output, it
returns x̄ = (∂y/∂x)ᵀ ȳ. Calling an op on tensors computes its value and, if a gradient
may be wanted, leaves a `Node` on the tape: a recipe of arrays, nothing that hides.

`backward_steps(loss)` walks the nodes from the newest to the oldest and yields every
event as it happens. `backward()` only exhausts that generator, so that training and
studying take the same path.

    x = Parameter(np.array(3.0));  y = x * x + x;  y.backward();  x.grad   # 7.0
"""

from __future__ import annotations

import inspect
import itertools
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from contextlib import ContextDecorator
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import Any, ClassVar, Generic, NamedTuple, TypeAlias, TypeVar, cast

import numpy as np

from minivae.backend import Array, is_array, to_numpy, xp_of
from minivae.errors import UserError

ops: Any = None  # bound to minivae.ops by minivae/__init__, for the operators below

Operand: TypeAlias = Any
"""What an op accepts as an input: a Tensor, an array, a number, or a nested list."""
Gradient: TypeAlias = Any
"""An array, or a Python float where a scalar came down unchanged from the seed 1.0."""
Edge: TypeAlias = tuple[Any, int]
"""Where an input's gradient goes: (node, output index) or (leaf, its version then)."""
Result = TypeVar("Result")


class _Mode(threading.local):
    """What is switched on in this thread."""

    paused: int = 0  # how many no_grad contexts are open
    observer: Callable[[Node], None] | None = None


mode = _Mode()


class no_grad(ContextDecorator):
    """Within this context nothing is put on the tape."""

    def __enter__(self) -> None:
        mode.paused += 1

    def __exit__(self, *exc: object) -> None:
        mode.paused -= 1


class Tensor:
    """An array, and where it came from.

    `data` is a NumPy or CuPy array; Python numbers and lists become float32. A tensor
    made by the user is a leaf. After `backward()`, leaves with `requires_grad` hold
    ∂loss/∂data in `grad`; no other tensor keeps a gradient.
    """

    __slots__ = ("data", "grad", "name", "node", "output", "requires_grad")
    __array_ufunc__ = None  # so that array * tensor reaches Tensor.__rmul__

    def __init__(
        self, data: Operand, requires_grad: bool = False, name: str = ""
    ) -> None:
        self.data: Array = as_array(data)
        if requires_grad and self.data.dtype.kind != "f":
            raise UserError(f"a gradient needs floats, not {self.data.dtype}")
        self.requires_grad = requires_grad
        self.grad: Array | None = None
        self.node: Node | None = None
        self.output = 0  # which output of `node` this is
        self.name = name

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)
    T = property(lambda self: ops.transpose(self))

    def __repr__(self) -> str:
        origin = self.node.op.name if self.node else self.name or "leaf"
        return f"Tensor({self.data}, {self.dtype}, {origin})"

    def numpy(self) -> Array:
        """Return the value as a NumPy array (copied from the device if need be)."""
        return to_numpy(self.data)

    def item(self) -> float:
        """Return the value of a one-element tensor as a Python number."""
        return float(self.data.item())

    def detach(self) -> Tensor:
        """Return a leaf with the same array, through which no gradient flows."""
        return _made_by(None, self.data, 0)

    def backward(self, gradient: Array | None = None) -> None:
        """Add ∂self/∂leaf to the `grad` of every leaf that led here.

        `gradient` is the adjoint to start from; a scalar needs none. The tape stays,
        so a second call adds the same gradients once more. Raises `UserError` if this
        is no scalar, or if a leaf has changed since its value was used.
        """
        for _ in backward_steps(self, gradient):
            pass

    # fmt: off
    def __add__(self, other: Operand) -> Tensor: return ops.add(self, other)
    def __radd__(self, other: Operand) -> Tensor: return ops.add(other, self)
    def __sub__(self, other: Operand) -> Tensor: return ops.sub(self, other)
    def __rsub__(self, other: Operand) -> Tensor: return ops.sub(other, self)
    def __mul__(self, other: Operand) -> Tensor: return ops.mul(self, other)
    def __rmul__(self, other: Operand) -> Tensor: return ops.mul(other, self)
    def __truediv__(self, other: Operand) -> Tensor: return ops.div(self, other)
    def __rtruediv__(self, other: Operand) -> Tensor: return ops.div(other, self)
    def __pow__(self, other: Operand) -> Tensor: return ops.pow(self, other)
    def __rpow__(self, other: Operand) -> Tensor: return ops.pow(other, self)
    def __matmul__(self, other: Operand) -> Tensor: return ops.matmul(self, other)
    def __rmatmul__(self, other: Operand) -> Tensor: return ops.matmul(other, self)
    def __neg__(self) -> Tensor: return ops.neg(self)
    def __getitem__(self, index: Any) -> Tensor: return ops.getitem(self, index=index)
    # fmt: on

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """Sum over `axis`, or over everything."""
        return ops.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """Take the mean over `axis`, or over everything."""
        return ops.mean(self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape: int) -> Tensor:
        """Give the same elements another shape."""
        return ops.reshape(self, shape=shape)


class Parameter(Tensor):
    """A leaf that is trained. Its value changes only through `assign`.

    Once an optimizer has packed it, `slot` is its part of a flat gradient buffer, where
    the engine writes, and `place` says which buffers and where. `version` counts the
    changes of the value.
    """

    __slots__ = ("place", "slot", "version")

    def __init__(self, data: Operand, name: str = "") -> None:
        super().__init__(data, requires_grad=True, name=name)
        self.slot: Array | None = None
        self.place: Any = None
        self.version = 0

    def detach(self) -> Tensor:
        """Return a leaf with a copy of the value, which later updates leave alone."""
        return _made_by(None, self.data.copy(), 0)

    def assign(self, value: Array) -> None:
        """Set the value, in place. Giving `self.data` announces that it was changed."""
        if value is not self.data:
            if value.shape != self.shape:
                label = self.name or "this parameter"
                raise UserError(f"{label} is {self.shape}, the new value {value.shape}")
            self.data[...] = value
        self.version += 1


def as_array(data: Operand) -> Array:
    """Return `data` as an array; Python's numbers and lists become float32."""
    if is_array(data):
        return data
    return np.asarray(data, getattr(data, "dtype", np.float32))


def edge_of(tensor: Tensor) -> Edge:
    """Return where the gradient of `tensor` goes: to its node, or to it as a leaf."""
    if tensor.node is not None:
        return tensor.node, tensor.output
    return tensor, getattr(tensor, "version", 0)


@dataclass(slots=True, eq=False)
class Node:
    """One application of an op: the recipe by which its value was made.

    `inputs` and `out` are plain arrays (or numbers), so the tape holds no tensor but
    the leaves. Nodes are numbered in the order in which they were made.
    """

    op: Op[Any]
    inputs: list[Any]
    params: dict[str, Any]
    out: Any
    saved: Any
    edges: list[Edge | None]
    number: int = field(default_factory=itertools.count().__next__)


class Rule(NamedTuple):
    """How the adjoint of one input is computed, in words and in code."""

    formula: str
    function: Callable[..., Any]


class Op(Generic[Result]):
    """A differentiable function of arrays; calling it accepts tensors too.

    Arrays are positional, everything else is keyword-only. `registry` holds every op
    by name; it is the only catalogue.
    """

    registry: ClassVar[dict[str, Op[Any]]] = {}

    def __init__(
        self,
        forward: Callable[..., Any],
        formula: str,
        outputs: Sequence[str] = (),
        saves: Sequence[str] = (),
        constant: Sequence[str] = (),
        unfused: Callable[..., Any] | None = None,
    ) -> None:
        name = forward.__name__
        if name in Op.registry:
            raise TypeError(f"there is an op {name} already")
        arguments = inspect.signature(forward).parameters.values()
        self.variadic = any(a.kind is a.VAR_POSITIONAL for a in arguments)
        self.inputs = tuple(a.name for a in arguments if a.kind is not a.KEYWORD_ONLY)
        self.name, self.formula, self.forward = name, formula, forward
        self.saves, self.constant, self.unfused = saves, constant, unfused
        self.outputs: Any = namedtuple(f"{name}_outputs", outputs) if outputs else None
        self.forward_with_saves: Callable[..., Any] | None = None
        self.rules: dict[str, Rule] = {}
        self.joint = False  # whether one function is the rule of all inputs
        if unknown := set(constant) - set(self.inputs):
            raise TypeError(f"op {name} has no input {unknown}")
        update_wrapper(self, forward)
        Op.registry[name] = self

    def __repr__(self) -> str:
        return f"<op {self.name}: {self.formula}>"

    def vjp(self, name: str, formula: str) -> Callable[[Any], Any]:
        """Declare the rule of one input: `rule(g, out, [saved,] *inputs, **params)`."""
        return self._declare({name: formula}, joint=False)

    def vjp_all(self, **formulas: str) -> Callable[[Any], Any]:
        """Declare one rule for all inputs, which share work; a formula for each.

        It receives `needs`, a tuple that says which inputs want their adjoint, and
        returns a tuple over all inputs, None where nothing is wanted.
        """
        return self._declare(formulas, joint=True)

    def _declare(self, formulas: dict[str, str], joint: bool) -> Callable[[Any], Any]:
        for name in formulas:
            if name not in self.inputs or name in (*self.rules, *self.constant):
                raise TypeError(f"op {self.name}: no rule is due for an input {name}")

        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            self.rules.update({n: Rule(f, function) for n, f in formulas.items()})
            self.joint = joint
            return function

        return declare

    def with_saves(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Declare the forward used when a gradient is wanted; it returns out, saved."""
        self.forward_with_saves = forward
        return forward

    def rule_of(self, position: int) -> Rule:
        """Return the rule of the input at `position`."""
        return self.rules[self.inputs[0 if self.variadic else position]]

    def __call__(self, *inputs: Operand, **params: Any) -> Result:
        """Compute the value; leave a node on the tape if a gradient may be wanted."""
        arrays: list[Any] = []
        edges: list[Edge | None] = []
        for x in inputs:
            edge = None
            if isinstance(x, Tensor):
                if x.requires_grad and not mode.paused:
                    edge = edge_of(x)
                x = x.data
            elif isinstance(x, (list, tuple)):
                x = as_array(x)
            elif isinstance(x, np.generic):
                x = x.item()  # a bare number has no dtype of its own
            arrays.append(x)
            edges.append(edge)
        xp_of(*arrays)
        if not any(edges):
            return self._tensors(self.forward(*arrays, **params), None)
        for name in self.constant:
            if edges[self.inputs.index(name)]:
                raise UserError(f"{self.name}: no gradient for {name}, detach() it")
        if self.forward_with_saves:
            out, saved = self.forward_with_saves(*arrays, **params)
        else:
            out, saved = self.forward(*arrays, **params), None
        node = Node(self, arrays, params, out, saved, edges)
        if mode.observer:
            mode.observer(node)
        return self._tensors(out, node)

    def _tensors(self, out: Any, node: Node | None) -> Result:
        if self.outputs is None:
            return cast(Result, _made_by(node, out, 0))
        made = (_made_by(node, value, i) for i, value in enumerate(out))
        return cast(Result, self.outputs(*made))

    def pull(self, node: Node, g: Any) -> list[tuple[int, Gradient]]:
        """Apply the rules of `node` to the upstream `g`: (position, x̄) where wanted."""
        values = (node.saved, *node.inputs) if self.saves else node.inputs
        wanted = [i for i, edge in enumerate(node.edges) if edge]
        if self.joint:
            needs = tuple(i in wanted for i in range(len(node.edges)))
            function = self.rule_of(0).function
            raws = function(g, node.out, *values, needs=needs, **node.params)
            return [(i, raws[i]) for i in wanted]
        return [
            (i, self.rule_of(i).function(g, node.out, *values, **node.params))
            for i in wanted
        ]


def _made_by(node: Node | None, data: Any, output: int) -> Tensor:
    """Wrap the array an op has made; the fast twin of `Tensor.__init__`."""
    tensor = Tensor.__new__(Tensor)
    tensor.data, tensor.grad, tensor.name = data, None, ""
    tensor.node, tensor.output, tensor.requires_grad = node, output, node is not None
    return tensor


def op(formula: str, **options: Any) -> Callable[[Callable[..., Any]], Op[Any]]:
    """Make a function of arrays an op, registered under its own name.

    Options: `outputs` names the outputs if there are several; `saves` what the second
    forward keeps for the rules; `constant` the inputs that have no gradient; `unfused`
    is the composition of simpler ops that a fused op must equal.
    """
    return lambda forward: Op(forward, formula, **options)


class Contribution(NamedTuple):
    """The rule of `node` for the input at `position` has turned upstream into raw."""

    node: Node
    position: int
    upstream: Any
    raw: Gradient


class Unbroadcast(NamedTuple):
    """A raw gradient was summed over the axes along which its input was repeated."""

    node: Node
    position: int
    axes: tuple[int, ...]
    gradient: Gradient


class Delivery(NamedTuple):
    """The sweep is over: `leaf` has received the sum of its contributions."""

    leaf: Tensor
    gradient: Array


def backward_steps(
    root: Tensor, gradient: Gradient | None = None
) -> Iterator[Contribution | Unbroadcast | Delivery]:
    """Play the tape backward from `root`, and yield every event as it happens.

    A node's number is larger than those of the nodes it used, so newest first is an
    order in which each adjoint is complete before it is passed on. Adjoints live in a
    dict local to the sweep and leave it when they are used; only leaves keep theirs.
    """
    adjoints: dict[Edge, Gradient] = {edge_of(root): _seed(root, gradient)}
    for node in _newest_first(edge_of(root)):
        outputs = node.op.outputs
        if outputs is None:
            g = adjoints.pop((node, 0))
        else:  # an output nobody used arrives as 0.0
            places = range(len(outputs._fields))
            g = outputs(*(adjoints.pop((node, i), 0.0) for i in places))
        for position, raw in node.op.pull(node, g):
            yield Contribution(node, position, g, raw)
            term, shape = raw, getattr(node.inputs[position], "shape", ())
            if getattr(raw, "shape", ()) != shape:
                term, axes = unbroadcast(raw, shape)
                yield Unbroadcast(node, position, axes, term)
            _accumulate(adjoints, node.edges[position], term)
    for (leaf, _), total in adjoints.items():
        yield _deliver(leaf, total)


def _seed(root: Tensor, gradient: Gradient | None) -> Gradient:
    if not root.requires_grad:
        raise UserError("nothing to do: no parameter led to this tensor")
    if gradient is None and root.shape != ():
        raise UserError(f"backward() starts from a scalar, this is {root.shape}")
    if gradient is not None and np.shape(gradient) != root.shape:
        raise UserError(f"gradient is {np.shape(gradient)}, the tensor {root.shape}")
    return 1.0 if gradient is None else gradient


def _newest_first(root: Edge) -> list[Node]:
    """Return all nodes that `root` depends on; refuse leaves that have changed."""
    found: set[Node] = set()
    waiting = [root]
    while waiting:
        source, number = waiting.pop()
        if type(source) is Node:
            if source not in found:
                found.add(source)
                waiting.extend(edge for edge in source.edges if edge)
        elif getattr(source, "version", 0) != number:
            name = source.name or f"a leaf of shape {source.shape}"
            raise UserError(f"{name} has changed since the loss used it: recompute")
    return sorted(found, key=lambda node: node.number, reverse=True)


def unbroadcast(
    gradient: Array, shape: tuple[int, ...]
) -> tuple[Array, tuple[int, ...]]:
    """Sum `gradient` over the axes along which an input of `shape` was repeated.

    The adjoint of copying is summing. Returns the sum and the axes it ran over.
    """
    lead = gradient.ndim - len(shape)
    repeated = tuple(
        axis
        for axis, size in enumerate(gradient.shape)
        if axis < lead or (shape[axis - lead] == 1 and size != 1)
    )
    summed = gradient.sum(axis=repeated, keepdims=True)
    if summed.shape[max(lead, 0) :] != shape:
        raise ValueError(f"a rule returned {gradient.shape} for an input of {shape}")
    return summed.reshape(shape), repeated


def _accumulate(adjoints: dict[Edge, Gradient], edge: Any, term: Gradient) -> None:
    """Add one more term to an adjoint; out of place, since rules may share arrays."""
    adjoints[edge] = adjoints[edge] + term if edge in adjoints else term


def _deliver(leaf: Tensor, gradient: Gradient) -> Delivery:
    """Add a finished adjoint to `leaf.grad`, in the leaf's slot if it has one."""
    slot = getattr(leaf, "slot", None)
    if slot is None:
        array = xp_of(leaf.data).array(gradient, dtype=leaf.dtype)  # never shared
        leaf.grad = array if leaf.grad is None else leaf.grad + array
    elif leaf.grad is None:
        slot[...] = gradient
        leaf.grad = slot
    else:
        slot += gradient
    return Delivery(leaf, leaf.grad)
