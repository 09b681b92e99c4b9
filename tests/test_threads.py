"""One pool of threads: the same results, nothing lost, and it leaves as it came."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from queue import SimpleQueue
from time import sleep

import numpy as np
import pytest
from minivae_kernels import threads as pool
from threadpoolctl import ThreadpoolController


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pool, "WORTH_A_THREAD", 0)
    before = pool.set_threads(2)
    yield
    pool.set_threads(before)


@pytest.fixture
def two_blas_threads() -> Iterator[None]:
    """As a user's machine has them, whatever the environment of the tests says."""
    with ThreadpoolController().limit(limits=2, user_api="blas"):
        if blas_threads() != {2}:
            pytest.skip("this BLAS has one thread")
        yield


def blas_threads() -> set[int]:
    libraries = ThreadpoolController().select(user_api="blas").info()
    return {library["num_threads"] for library in libraries}


def test_every_row_is_done_once_and_by_more_than_one_thread() -> None:
    done, who = np.zeros(101, int), set()

    def work(start: int, stop: int) -> None:
        done[start:stop] += 1
        who.add(threading.get_ident())

    for count in (1, 2, 3, 7):
        pool.set_threads(count)
        done[:] = 0
        who.clear()
        pool.by_rows(work, 101, 1.0)
        assert (done == 1).all()
        assert len(who) == count


def test_small_work_stays_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "WORTH_A_THREAD", 1e-3)
    calls: list[tuple[int, int]] = []
    pool.by_rows(lambda a, b: calls.append((a, b)), 50, 0.9e-3)
    assert calls == [(0, 50)]


@pytest.mark.parametrize("failing", [0, 1], ids=["here", "on the other thread"])
def test_what_a_part_raises_is_raised_when_all_parts_are_over(failing: int) -> None:
    over: list[int] = []

    def work(start: int, stop: int) -> None:
        if (start > 0) == failing:
            raise ZeroDivisionError
        sleep(0.01)
        over.append(start)

    for _ in range(3):
        over.clear()
        with pytest.raises(ZeroDivisionError):
            pool.by_rows(work, 10, 1.0)
        assert len(over) == 1
    pool.by_rows(lambda a, b: over.append(a), 10, 1.0)  # and it goes on working
    assert len(over) == 3


def test_a_part_that_raises_leaves_no_other_running() -> None:
    pool.set_threads(3)
    over: list[int] = []

    def work(start: int, stop: int) -> None:
        if start == 1:
            raise ZeroDivisionError
        sleep(0.05 * (start == 2))
        over.append(start)

    with pytest.raises(ZeroDivisionError):
        pool.by_rows(work, 3, 1.0)
    assert sorted(over) == [0, 2]
    done = np.zeros(3, int)

    def count(start: int, stop: int) -> None:
        done[start:stop] += 1

    pool.by_rows(count, 3, 1.0)
    assert (done == 1).all()


def test_arrays_are_let_go() -> None:
    array = np.zeros(10)
    kept = weakref.ref(array)
    pool.by_rows(lambda start, stop, array: None, 10, 1.0, array)
    del array
    sleep(0.01)
    assert kept() is None


def test_bells_do_not_pile_up() -> None:
    for _ in range(300):
        pool.by_rows(lambda start, stop: None, 2, 1.0)
    assert all(worker.bell.qsize() <= 1 for worker in pool._pool.workers)


def test_a_worker_that_sleeps_is_rung_for_once_and_one_awake_never() -> None:
    worker = pool._Worker.__new__(pool._Worker)  # without its thread
    worker.bell, worker.asleep = SimpleQueue(), False
    worker._wake()
    assert worker.bell.empty()
    worker.asleep = True
    worker._wake()
    worker._wake()
    assert worker.bell.qsize() == 1


def test_there_are_no_more_threads_than_rows_nor_fewer_than_one() -> None:
    pool.set_threads(7)
    seen: list[int] = []
    pool.by_rows(lambda start, stop: seen.append(stop - start), 2, 1.0)
    assert seen == [1, 1]
    pool.set_threads(0)
    assert pool.set_threads(2) == 1


def test_work_is_estimated_by_what_takes_longer() -> None:
    assert pool.seconds(moved=20_000_000_000) == 1
    assert pool.seconds(moved=1, flops=200_000_000_000) == 1


def test_a_part_may_itself_want_threads() -> None:
    done = np.zeros((4, 6), int)

    def outer(start: int, stop: int) -> None:
        for row in range(start, stop):

            def inner(first: int, last: int, row: int = row) -> None:
                done[row, first:last] += 1

            pool.by_rows(inner, 6, 1.0)

    pool.by_rows(outer, 4, 1.0)
    assert (done == 1).all()


def test_a_worker_that_has_gone_to_sleep_is_woken() -> None:
    for pause in (0, 1e-4, 3e-4, 1e-2):
        for _ in range(20):
            done = np.zeros(2, int)

            def work(start: int, stop: int, done: np.ndarray = done) -> None:
                done[start:stop] += 1

            pool.by_rows(work, 2, 1.0)
            assert (done == 1).all()
            sleep(pause)


@pytest.mark.parametrize("shape", [(128, 784, 400), (400, 128, 784), (33, 7, 1)])
def test_a_product_in_parts_is_the_product(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    n, k, o = shape
    x, y = rng.normal(size=(k, n)).T, rng.normal(size=(k, o))  # x lies transposed
    expected = x @ y
    for count in (1, 2, 3, 5):
        with pool.one_pool(count):
            found = pool.product(x, y)
            assert np.abs(found - expected).max() <= 1e-12 * np.abs(expected).max()
            assert found.tobytes() == pool.product(x, y).tobytes()


def test_items_are_each_one_threads_and_their_results_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 200, 300)), rng.normal(size=(300, 400))
    found = []
    for count in (1, 2, 3, 9):
        with pool.one_pool(count):
            products = pool.each(lambda a: pool.product(a, y), x)
            nested = pool.each(lambda n: sum(pool.each(abs, range(-n, 0))), range(5))
        found.append(np.stack(products).tobytes())
        assert nested == [0, 1, 3, 6, 10]
    assert found == found[:1] * 4
    assert pool.each(abs, []) == []


def test_after_an_error_no_item_is_begun() -> None:
    begun: list[int] = []

    def item(number: int) -> None:
        begun.append(number)
        sleep(0.01)
        raise ValueError(f"item {number}")

    with pool.one_pool(2), pytest.raises(ValueError, match="item"):
        pool.each(item, range(100))
    assert len(begun) <= 2
    with pool.one_pool(2):
        assert pool.each(abs, [-1]) == [1]  # nothing is left locked


def test_a_family_is_whole_when_threads_ask_for_it_first() -> None:
    """Its name is in the registry before its module has been read to the end."""
    code = (
        "import threading, time, minivae_kernels as k, numpy as np\n"
        "rung = k.Family.rung\n"
        "def slow(*a, **o): time.sleep(0.1); return rung(*a, **o)\n"
        "k.Family.rung = slow\n"
        "x, bad = np.zeros((2, 3), np.float32), []\n"
        "def ask():\n"
        "    try: k.family('bias_activation')(x.copy(), x[0], activation='relu')\n"
        "    except Exception as error: bad.append(error)\n"
        "first = threading.Thread(target=ask); first.start()\n"
        "while 'bias_activation' not in k.Family.registry: time.sleep(0.01)\n"
        "ask(); first.join(); assert not bad, bad\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_within_the_pool_the_blas_has_one_thread_and_afterwards_its_own(
    two_blas_threads: None,
) -> None:
    ours = pool.set_threads(2)
    with pool.one_pool(3) as outer:
        assert (outer, blas_threads()) == (3, {1})
        with pool.one_pool() as inner:
            assert inner == 3
        with pool.one_pool(1) as inner:
            assert inner == 1
        assert pool.set_threads(3) == 3
        assert blas_threads() == {1}
    assert blas_threads() == {2}
    assert pool.set_threads(ours) == 2


def test_the_pool_has_as_many_threads_as_the_blas_had(two_blas_threads: None) -> None:
    pool.set_threads(5)
    with pool.one_pool() as count:
        assert count == 2
    assert pool.set_threads(2) == 5


def test_two_trainings_that_overlap_leave_everything_as_it_was(
    two_blas_threads: None,
) -> None:
    pool.set_threads(4)
    first_is_in, second_is_in = threading.Event(), threading.Event()

    def second() -> None:
        first_is_in.wait(10)
        with pool.one_pool():
            second_is_in.set()
            first_is_out.wait(10)

    first_is_out = threading.Event()
    other = threading.Thread(target=second)
    other.start()
    with pool.one_pool(1):
        first_is_in.set()
        second_is_in.wait(10)
    assert blas_threads() == {1}
    first_is_out.set()
    other.join(10)
    assert blas_threads() == {2}
    assert pool.set_threads(2) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_makes_threads_of_its_own() -> None:
    def sums() -> bool:
        done = np.zeros(10, int)

        def work(start: int, stop: int) -> None:
            done[start:stop] += 1

        pool.by_rows(work, 10, 1.0)
        return bool((done == 1).all())

    assert sums()
    child = os.fork()
    if child == 0:
        os._exit(0 if sums() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_many_python_threads_may_want_the_pool_at_once() -> None:
    wrong: list[int] = []

    def user(number: int) -> None:
        for _ in range(50):
            done = np.zeros(20, int)

            def work(start: int, stop: int, done: np.ndarray = done) -> None:
                done[start:stop] += number

            pool.by_rows(work, 20, 1.0)
            if not (done == number).all():
                wrong.append(number)

    users: list[threading.Thread] = [
        threading.Thread(target=user, args=(n,)) for n in range(1, 5)
    ]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join(60)
    assert wrong == []
