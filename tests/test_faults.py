"""What breaks under a training: files, disks, folders, and a second process.

What is damaged is noticed and named, what is whole is used, and nothing is lost but the
steps since the last save. Kills are in `test_resume.py`, `test_kill_points.py` and
`test_resume_slow.py`.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from command import refused
from stops import BEST, CONFIG, LAST, PREVIOUS, after_step, files, stopped, unchanged
from tiny import few_digits, fit, same, script_validation, small

import minivae as mv
from minivae import checkpoint
from minivae.data import Dataset
from minivae.errors import UserError


@pytest.fixture
def data() -> Dataset:
    return few_digits()


def start(out: Path) -> mv.Run:
    return fit(small(), few_digits(), out=out, epochs=3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs that nothing has disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    start(out)
    return out


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be broken."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def cut(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(content))


# Damaged checkpoints


def bits(path: Path, count: int) -> list[int]:
    """Bits spread over a file, half of them in its header."""
    size = path.stat().st_size
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    of_header = np.linspace(0, 8 * header - 1, count // 2)
    of_arrays = np.linspace(8 * header, 8 * size - 1, count // 2)
    return [int(bit) for bit in (*of_header, *of_arrays)]


def test_a_flipped_bit_in_the_state_is_noticed_wherever_it_is(run: Path) -> None:
    model = mv.load_run(run).model
    moments = model_moments(model)
    expected = model.state() | moments
    good = (run / LAST).read_bytes()
    for bit in bits(run / LAST, 200):
        flip(run / LAST, bit)
        with pytest.raises(checkpoint.DamagedError, match=r"last\.safetensors"):
            checkpoint.read_state(run / LAST, expected)
        (run / LAST).write_bytes(good)
    checkpoint.read_state(run / LAST, expected)


def model_moments(model: mv.models.Autoencoder) -> dict[str, np.ndarray]:
    state = mv.optim.Adam(model.parameters(), 0.1).state()
    return {checkpoint.MOMENT + name: array for name, array in state.items()}


def test_a_flipped_bit_in_the_best_weights_is_noticed_or_harmless(run: Path) -> None:
    own = mv.load_run(run).model.state()
    good, noticed = (run / BEST).read_bytes(), 0
    for bit in bits(run / BEST, 200):
        flip(run / BEST, bit)
        try:  # in the key `minivae` it makes the weights another program's
            assert same(checkpoint.read_weights(run / BEST, own), own)
        except checkpoint.DamagedError:
            noticed += 1
        (run / BEST).write_bytes(good)
    assert noticed >= 190


DAMAGE: dict[str, Callable[[Path], None]] = {
    "empty": partial(cut, keep=0),
    "half a header": partial(cut, keep=0.01),
    "half": partial(cut, keep=0.5),
    "all but a byte": partial(cut, keep=0.9999),
    "a bit in the length": partial(flip, bit=3),
    "a bit in the header": partial(flip, bit=8 * 60),
    "a bit in an array": partial(flip, bit=8 * 9000),
    "missing": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_state_before_a_damaged_one_is_used_and_named(
    damage: str, whole: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DAMAGE[damage](run / LAST)
    assert mv.resume(run, few_digits()).trained == 1
    told = capsys.readouterr().err.splitlines()[0]
    if damage != "missing":  # as a kill between two renames leaves it
        assert "last.safetensors" in told
        assert "from previous.safetensors" in told
    assert "going on after step 8" in told
    assert files(run) == files(whole)


def test_a_damaged_state_in_the_middle_of_an_epoch_loses_that_epoch_alone(
    data: Dataset, whole: Path, tmp_path: Path
) -> None:
    stopped(10, tmp_path, lambda: start(tmp_path))
    # the second save must not push the end of the last epoch out
    stopped(11, tmp_path, lambda: mv.resume(tmp_path, data, quiet=True))
    flip(tmp_path / LAST, 8 * 9000)
    assert mv.resume(tmp_path, data, quiet=True).trained == 1
    assert files(tmp_path) == files(whole)


def test_two_damaged_states_are_refused(data: Dataset, run: Path) -> None:
    cut(run / LAST, 0.5)
    cut(run / PREVIOUS, 0.5)
    unchanged(run, r"previous.safetensors is no re", lambda: mv.resume(run, data))


def test_a_damaged_state_is_never_kept_as_the_previous_one(
    data: Dataset, run: Path
) -> None:
    good = (run / PREVIOUS).read_bytes()
    flip(run / LAST, 8 * 9000)
    mv.resume(run, data, quiet=True)
    assert (run / PREVIOUS).read_bytes() == good


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("best", [2, 3])
def test_damaged_best_weights_are_made_again_where_another_file_has_them(
    best: int, damage: str, data: Dataset, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        script_validation(patch, *{2: (3.0, 1.0, 2.0), 3: (3.0, 2.0, 1.0)}[best])
        run = start(tmp_path)
        before = files(tmp_path)
        path = tmp_path / BEST
        DAMAGE[damage](path) if damage != "a bit in an array" else flip(path, 8 * 4000)
        with pytest.raises(UserError, match=r"checkpoint\.safetensors"):
            mv.load_run(tmp_path)
        mv.resume(tmp_path, data, quiet=True)
    assert files(tmp_path) == before
    assert same(mv.load_run(tmp_path).model.state(), run.model.state())


def test_best_weights_that_no_other_file_has_are_said_to_be_lost(
    data: Dataset, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        script_validation(patch, 1.0, 2.0)
        start(tmp_path)
    cut(tmp_path / BEST, 0.5)
    unchanged(tmp_path, "no other file has", lambda: mv.resume(tmp_path, data))


def test_weights_of_other_programs_need_no_digest(run: Path) -> None:
    from safetensors.numpy import save_file

    own = mv.load_run(run).model.state()
    save_file(own, run / BEST)
    assert same(mv.load_run(run).model.state(), own)


# Two processes on one folder

HOLD = """
import sys
from pathlib import Path
from minivae import checkpoint
with checkpoint.claimed(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold the folder, as one that trains does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_second_process_is_refused_until_the_first_is_killed(
    data: Dataset, whole: Path, run: Path
) -> None:
    (run / LAST).unlink()
    with held(run) as process:
        unchanged(run, "another process trains in", lambda: mv.resume(run, data))
        unchanged(run, "another process trains in", lambda: start(run))
        process.kill()
        process.wait()
        assert (run / checkpoint.LOCK).exists()
        mv.resume(run, data, quiet=True)
    assert files(run) == files(whole)
    assert not (run / checkpoint.LOCK).exists()


def test_the_command_refuses_a_folder_that_another_process_holds(
    tmp_path: Path,
) -> None:
    with held(tmp_path):
        digits = ("--data", "digits", "--epochs", 1)
        refused("another process trains in", "train", *digits, "--out", tmp_path)
    assert list(files(tmp_path)) == []


def test_a_training_holds_its_folder(data: Dataset, tmp_path: Path) -> None:
    told: list[str] = []

    def meddle() -> None:
        with pytest.raises(UserError) as error:
            mv.resume(tmp_path, data)
        told.append(str(error.value))

    with pytest.MonkeyPatch.context() as patch:
        after_step(patch, 5, meddle)
        start(tmp_path)
    assert len(told) == 1
    assert told[0].startswith(f"another process trains in {tmp_path}")
    assert "\n" not in told[0]
    assert not (tmp_path / checkpoint.LOCK).exists()


def test_a_lock_removed_between_opening_and_locking_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    flock, calls = fcntl.flock, []

    def late(file: int, how: int) -> None:
        calls.append(file)
        if len(calls) == 1:
            (tmp_path / checkpoint.LOCK).unlink()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with checkpoint.claimed(tmp_path):
        assert len(calls) == 2
        assert (tmp_path / checkpoint.LOCK).exists()


# Disks and folders


@contextmanager
def full(out: Path, kind: str) -> Iterator[None]:
    """Let there be no room for a file of more than a few bytes."""
    if kind == "limit":
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
        yield
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    else:
        ballast = out.parent / "ballast"
        with ballast.open("wb", buffering=0) as file:
            while os.statvfs(out.parent).f_bavail:
                file.write(bytes(4096))
        yield
        ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A function that mounts a small disk and returns a folder to be made on it."""
    place = tmp_path / "disk"
    mounted = []

    def mount(kind: str) -> Path:
        place.mkdir()
        if kind != "limit":
            size = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
            if (
                shutil.which("mount") is None
                or subprocess.run(size, capture_output=True).returncode
            ):
                pytest.skip("no right to mount a small disk; the limit is tested")
            mounted.append(place)
        return place / "run"

    yield mount
    for path in mounted:
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize("kind", ["limit", "tmpfs"])
def test_a_full_disk_ends_in_one_line_and_loses_nothing(
    kind: str, disk: Callable[[str], Path], data: Dataset, whole: Path
) -> None:
    out = disk(kind)
    stopped(4, out, lambda: start(out))
    before = files(out)
    with full(out, kind), pytest.raises(UserError, match="cannot write") as told:
        mv.resume(out, data, quiet=True)
    assert str(told.value).endswith(("No space left on device", "File too large"))
    saved = files(out)
    assert {name: saved[name] for name in (CONFIG, LAST)} == {
        name: before[name] for name in (CONFIG, LAST)
    }
    assert not [name for name in saved if name.endswith(".part")]
    mv.resume(out, data, quiet=True)
    assert files(out) == files(whole)


@pytest.mark.parametrize("kind", ["limit", "tmpfs"])
def test_a_disk_that_is_full_from_the_start_is_left_without_a_run(
    kind: str, disk: Callable[[str], Path]
) -> None:
    out = disk(kind)
    with full(out, kind), pytest.raises(UserError, match="cannot write"):
        start(out)
    assert not out.exists() or files(out) == {}


@pytest.mark.parametrize("how", ["rights", "disk"])
def test_a_read_only_folder_is_refused_before_a_step_is_taken(
    how: str, disk: Callable[[str], Path], data: Dataset, whole: Path, tmp_path: Path
) -> None:
    if how == "rights":
        if os.geteuid() == 0:
            pytest.skip("rights do not stop root; a read-only disk is tested")
        out = Path(shutil.copytree(whole, tmp_path / "run"))
        (out / LAST).unlink()
        out.chmod(0o555)
    else:
        out = Path(shutil.copytree(whole, disk("tmpfs")))
        (out / LAST).unlink()
        remount = ["mount", "-o", "remount,ro", str(out.parent)]
        subprocess.run(remount, check=True)
    with pytest.MonkeyPatch.context() as patch:
        after_step(patch, 9, lambda: pytest.fail("a step was taken"))
        unchanged(out, "cannot write to", lambda: mv.resume(out, data))
        new = out / "new"
        with pytest.raises(UserError, match="cannot write to"):
            start(new)
    if how == "rights":
        out.chmod(0o755)


# Data that change between runs


def test_a_data_file_that_changed_by_one_pixel_is_refused(tmp_path: Path) -> None:
    path, run = tmp_path / "own.npy", tmp_path / "run"
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.save(path, images)
    stopped(3, run, lambda: fit(small(), mv.data.load(str(path)), out=run, batch=8))
    images[17, 3, 3] ^= 1
    np.save(path, images)
    before = files(run)
    refused("is not what", "train", "--resume", run)
    assert files(run) == before
    images[17, 3, 3] ^= 1
    np.save(path, images)
    assert mv.resume(run, quiet=True).finished
    images[0, 0, 0] ^= 1
    np.save(path, images)
    refused("its digest differs", "evaluate", run)
    path.unlink()
    refused("there is no file", "train", "--resume", run)
