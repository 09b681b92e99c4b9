"""A register tile: the partial sums that a core keeps in its vector registers.

A core of a modern CPU multiplies and adds two vectors at a time, and reads two. A loop
that fetches both factors of every product is bound by the reads. A tile of P rows of V
vectors of `lanes` numbers, held in registers, is updated by an outer product

    tile[p, v] ← tile[p, v] + a[p] · b[v]        P + V reads for P · V vector products

and is written once, at the end. This is the inner loop of every fast matrix product
(Goto & van de Geijn 2008), and of the convolutions here.

LLVM does not find this form by itself, so the three functions here emit it: `load`,
`accumulate` and `store`. They take flat positions, counted in elements, and check no
bounds; P, V and lanes must be constants where they are called. Numba does not renew a
compiled loop when only this file changes: after a change here, `make clean`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from minivae_kernels.cpu import emitted

INDEX = ir.IntType(64)


@cache
def vector_bytes() -> int:
    """Return the width of this CPU's vector registers."""
    features = llvm.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx2") else 16


def tile_rows() -> tuple[int, ...]:
    """Return the numbers of rows that are used, the largest first.

    A tile of two vectors a row must not leave the registers: with AVX-512, or on ARM,
    there are 32, else 16. Widths such as 7, 14 and 28 are met often; each number is
    compiled anew.
    """
    return (6, 4, 2, 1) if vector_bytes() == 32 else (8, 7, 4, 2, 1)


def lanes_of(dtype: Any) -> int:
    """Return how many numbers a vector register holds."""
    return vector_bytes() // np.dtype(dtype).itemsize


class Tile(types.Type):
    """The type of a tile: `rows` of `vectors` of `lanes` numbers of `dtype`."""

    def __init__(self, dtype: Any, rows: int, vectors: int, lanes: int) -> None:
        self.dtype, self.rows, self.vectors, self.lanes = dtype, rows, vectors, lanes
        super().__init__(name=f"Tile({dtype}, {rows}, {vectors}, {lanes})")

    def vector(self) -> ir.Type:
        """Return LLVM's type of one vector."""
        single = self.dtype == types.float32
        return ir.VectorType(ir.FloatType() if single else ir.DoubleType(), self.lanes)


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    """A tile is an array of vectors; LLVM gives each a register of its own."""

    def __init__(self, manager: Any, tile: Tile) -> None:
        held = ir.ArrayType(tile.vector(), tile.rows * tile.vectors)
        super().__init__(manager, tile, held)  # type: ignore[no-untyped-call]


def _pointer(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [at])


def _vectors(builder: Any, tile: Tile, pointer: Any) -> list[Any]:
    """Return the pointers to `tile.vectors` neighbouring vectors."""
    first = builder.bitcast(pointer, tile.vector().as_pointer())
    return [builder.gep(first, [INDEX(v)]) for v in range(tile.vectors)]


def _each_row(
    context: Any, builder: Any, tile: Tile, kind: Any, array: Any, at: Any, step: Any
) -> list[Any]:
    """Return the pointers to all vectors of a tile that lies in memory."""
    found = []
    for row in range(tile.rows):
        start = builder.add(at, builder.mul(step, INDEX(row)))
        pointer = _pointer(context, builder, kind, array, start)
        found += _vectors(builder, tile, pointer)
    return found


@emitted
def load(
    typing: Any, array: Any, at: Any, step: Any, P: Any, V: Any, lanes: Any
) -> Any:
    """Return the tile at `array[at]`, each row `step` further; one row if step is 0."""
    sizes = (P.literal_value, V.literal_value, lanes.literal_value)
    tile = Tile(array.dtype, *sizes)

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source, at, step = values[:3]
        kind = signature.args[0]
        held = ir.Constant(context.get_value_type(tile), ir.Undefined)
        places = _each_row(context, builder, tile, kind, source, at, step)
        for i, place in enumerate(places):
            vector = builder.load(place)
            vector.align = array.dtype.bitwidth // 8
            held = builder.insert_value(held, vector, i)
        return held

    return tile(array, types.intp, types.intp, P, V, lanes), codegen


@emitted
def accumulate(
    typing: Any, tile: Any, a: Any, at: Any, step: Any, b: Any, bt: Any
) -> Any:
    """Return tile[p, v] + a[at + p step] · b[bt + v lanes ...], for all p and v."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        held, a, at, step, b, bt = values
        kind_a, kind_b = signature.args[1], signature.args[4]
        vector, lanes = tile.vector(), tile.lanes
        bits = tile.dtype.bitwidth
        kind = ir.FunctionType(vector, [vector] * 3)
        name = f"llvm.fma.v{lanes}f{bits}"
        find: Any = cgutils.get_or_insert_function
        fma = find(builder.module, kind, name)
        factors = []
        for place in _vectors(builder, tile, _pointer(context, builder, kind_b, b, bt)):
            factors.append(builder.load(place))
            factors[-1].align = bits // 8
        first = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
        for p in range(tile.rows):
            start = builder.add(at, builder.mul(step, INDEX(p)))
            number = builder.load(_pointer(context, builder, kind_a, a, start))
            blank = ir.Constant(vector, ir.Undefined)
            one = builder.insert_element(blank, number, ir.IntType(32)(0))
            spread = builder.shuffle_vector(one, blank, first)
            for v, factor in enumerate(factors):
                i = p * tile.vectors + v
                total = builder.call(
                    fma, [spread, factor, builder.extract_value(held, i)]
                )
                held = builder.insert_value(held, total, i)
        return held

    signature = tile(tile, a, types.intp, types.intp, b, types.intp)
    return signature, codegen


@emitted
def store(typing: Any, tile: Any, array: Any, at: Any, step: Any) -> Any:
    """Write the tile to `array[at]`, each row `step` further."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        held, target, at, step = values
        kind = signature.args[1]
        places = _each_row(context, builder, tile, kind, target, at, step)
        for i, place in enumerate(places):
            done = builder.store(builder.extract_value(held, i), place)
            done.align = tile.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(tile, array, types.intp, types.intp), codegen
