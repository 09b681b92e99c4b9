"""Noise: known answers, any order, no state but a position."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from minivae_kernels import philox
from tolerances import NORMAL_FLOAT32, STANDARD_ERRORS

from minivae.errors import UserError
from minivae.random import Noise, Stream

KNOWN = [  # Random123, tests/kat_vectors: counter, key, output
    ("0 0 0 0", "0 0", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def numbers(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN)
def test_philox_gives_the_known_answers(counter: str, key: str, output: str) -> None:
    words = tuple(np.array([word], np.uint64) for word in numbers(counter))
    k0, k1 = numbers(key)
    assert [int(w[0]) for w in philox.philox4x32(words, (k0, k1))] == numbers(output)


def test_the_counter_is_block_stream_and_the_key_is_the_seed() -> None:
    seed, stream, block = (7 << 32) + 5, 3, (1 << 32) + 2
    counter = tuple(np.array([c], np.uint64) for c in (2, 1, stream, 0))
    expected = [int(w[0]) for w in philox.philox4x32(counter, (5, 7))]
    assert Noise(seed, stream, 4 * block).words(4).tolist() == expected


@given(first=st.integers(0, 1 << 40), count=st.integers(0, 40), cut=st.integers(0, 40))
def test_a_stream_is_the_same_however_it_is_read(
    first: int, count: int, cut: int
) -> None:
    cut = min(cut, count)
    for kind in ("uniform", "normal"):
        whole = getattr(Noise(1, 2, first), kind)((count,), np.float64)
        reader = Noise(1, 2, first)
        parts = [
            getattr(reader, kind)((size,), np.float64) for size in (cut, count - cut)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        assert reader.position == first + count


def test_long_reads_are_chunked_without_a_seam() -> None:
    count = 4 * philox.CHUNK + 13
    whole = Noise(3, 1, 2).words(count)
    at = 4 * philox.CHUNK - 5
    np.testing.assert_array_equal(Noise(3, 1, 2 + at).words(10), whole[at : at + 10])


def test_uniforms_are_odd_multiples_inside_the_unit_interval() -> None:
    u = Noise(0).uniform((100_000,))
    assert u.dtype == np.float32
    odd = u.astype(np.float64) * 2**24
    assert (odd % 2 == 1).all()
    assert u.min() > 0
    assert u.max() < 1


def test_the_extreme_words_stay_inside_the_unit_interval() -> None:
    low, high = philox.as_uniforms(np.array([0, 2**32 - 1], np.uint32))
    assert low == np.float32(2.0**-24)
    assert high == np.float32(1 - 2.0**-24)
    assert high < 1


def test_uniforms_are_bit_equal_in_both_precisions() -> None:
    single, double = (Noise(5).uniform((999,), t) for t in (np.float32, np.float64))
    np.testing.assert_array_equal(single.astype(np.float64), double)


def test_normals_agree_in_both_precisions() -> None:
    single, double = (Noise(5).normal((999,), t) for t in (np.float32, np.float64))
    assert np.abs(single - double).max() <= NORMAL_FLOAT32


def test_moments_are_those_of_the_distributions() -> None:
    n = 400_000
    u, z = Noise(11).uniform((n,), np.float64), Noise(12).normal((n,), np.float64)
    for values, mean, variance in ((u, 0.5, 1 / 12), (z, 0.0, 1.0)):
        error = np.sqrt(variance / n)
        assert abs(values.mean() - mean) <= STANDARD_ERRORS * error
        spread = ((values - mean) ** 2).std() / np.sqrt(n)
        assert abs(values.var() - variance) <= STANDARD_ERRORS * spread
    assert abs(np.corrcoef(z[::2], z[1::2])[0, 1]) <= STANDARD_ERRORS / np.sqrt(n / 2)


def test_normals_pass_a_goodness_of_fit_test() -> None:
    from scipy.stats import kstest

    assert kstest(Noise(13).normal((100_000,), np.float64), "norm").pvalue > 1e-4


def test_streams_and_seeds_differ() -> None:
    drawn = [Noise(s, t).words(64).tobytes() for s in range(4) for t in Stream]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize(
    "arguments", [(-1,), (1 << 64,), (0, -1), (0, 1 << 32), (0, 0, -1)]
)
def test_what_does_not_fit_the_counter_is_refused(arguments: tuple[int, ...]) -> None:
    with pytest.raises(UserError):
        Noise(*arguments)


def test_nothing_draws_from_global_state() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    Noise(0).normal((10,))
    import minivae as mv

    data = mv.data.load("digits")
    mv.fit(mv.VAE(data.shape, 2, (4,)), data, epochs=1, quiet=True)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
