"""Downloads: whole and right, or a line that says why not and nothing left behind.

The server is our own, on this machine; the sets it serves are small.
"""

from __future__ import annotations

import gzip
import hashlib
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from command import done, minivae, refused

from minivae.data import download, load
from minivae.data.catalogue import DEBIAN, PACKAGED
from minivae.data.download import SOURCES, File, Source

COUNTS = {"train": 18, "t10k": 4}
PUBLISHED = SOURCES["fashion"].files
NAMES = [file.name for file in PUBLISHED]


def packed(name: str) -> bytes:
    """A small IDX file of the kind that its name says."""
    part, kind, _ = name.split("-", 2)
    shape = (COUNTS[part], *((6, 5) if kind == "images" else ()))
    content = np.random.default_rng(len(name)).integers(0, 10, shape, np.uint8)
    header = bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)
    return gzip.compress(header + content.tobytes(), mtime=1)


FILES = {name: packed(name) for name in NAMES}


class Server:
    """Serves `files`; breaks off after half of each file named in `breaks_in`."""

    def __init__(self) -> None:
        self.files = dict(FILES)
        self.breaks_in: set[str] = set()
        self.says_length = True
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                outer.asked.append(name)
                content = outer.files.get(name)
                if content is None or not self.path.startswith("/sets/"):
                    self.send_error(404)
                    return
                self.send_response(200)
                if outer.says_length:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                half = name in outer.breaks_in
                self.wfile.write(content[: len(content) // 2] if half else content)

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}/sets"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture(autouse=True)
def small_sets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Publish the small files in place of the real ones, with a cache of one's own."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(DEBIAN, "fashion", tmp_path / "debian")

    def published(name: str, with_sha256: bool) -> File:
        sha256 = hashlib.sha256(gzip.decompress(FILES[name])).hexdigest()
        md5 = hashlib.md5(FILES[name]).hexdigest()
        return File(name, md5, sha256 if with_sha256 else None)

    for name in ("fashion", "mnist"):
        files = tuple(published(file, name == "fashion") for file in NAMES)
        monkeypatch.setitem(SOURCES, name, Source("http://127.0.0.1:9/", files))


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def held(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def fetch(server: Server, folder: Path, name: str = "fashion") -> str:
    return done("data", "get", name, "--data-dir", folder, "--mirror", server.address)


# What goes well


@pytest.mark.parametrize("name", ["fashion", "mnist"])
def test_a_set_is_fetched_whole_and_can_be_loaded(
    name: str, server: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "folder"
    assert fetch(server, folder, name).strip() == str(folder)
    assert {n: (folder / n).read_bytes() for n in held(folder)} == FILES
    data = load(name, folder)
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [15, 3, 4]


def test_without_a_folder_the_cache_is_used_and_found_again(server: Server) -> None:
    folder = done("data", "get", "fashion", "--mirror", server.address).strip()
    assert Path(folder) == download.cache_folder("fashion")
    assert len(load("fashion").test) == COUNTS["t10k"]


def test_the_published_address_is_asked_unless_a_mirror_is_given(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Source(server.address + "/", SOURCES["mnist"].files)
    monkeypatch.setitem(SOURCES, "mnist", here)
    done("data", "get", "mnist", "--data-dir", tmp_path / "set")
    assert server.asked == NAMES


def test_files_that_are_there_and_right_are_not_fetched_again(
    server: Server, tmp_path: Path
) -> None:
    fetch(server, tmp_path / "set")
    server.asked.clear()
    outcome = minivae(
        *("data", "get", "fashion", "--data-dir", tmp_path / "set"),
        *("--mirror", server.address),
    )
    assert (outcome.code, outcome.err) == (0, "")
    assert server.asked == []


def test_the_same_bytes_packed_otherwise_are_right_too(
    server: Server, tmp_path: Path
) -> None:
    repacked = {n: gzip.compress(gzip.decompress(c), 1) for n, c in FILES.items()}
    assert repacked != FILES
    server.files = repacked
    fetch(server, tmp_path / "set")
    server.asked.clear()
    fetch(server, tmp_path / "set")
    assert server.asked == []


# What goes wrong


def refused_and_gone(words: str, server: Server, folder: Path, name: str) -> None:
    """A fetch that must fail in one line, after a line for each file begun."""
    outcome = minivae(
        "data", "get", name, "--data-dir", folder, "--mirror", server.address
    )
    *begun, last = outcome.err.splitlines()
    assert outcome.code == 2
    assert outcome.out == ""
    assert all(line.startswith("fetching ") for line in begun)
    assert last.startswith("minivae: ")
    assert words in last
    assert not folder.exists()


@pytest.mark.parametrize("says_length", [True, False])
@pytest.mark.parametrize("name", ["fashion", "mnist"])
@pytest.mark.parametrize("broken", NAMES)
def test_after_a_download_that_broke_off_the_next_call_completes_the_set(
    broken: str, name: str, says_length: bool, server: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    server.breaks_in, server.says_length = {broken}, says_length
    outcome = minivae(
        "data", "get", name, "--data-dir", folder, "--mirror", server.address
    )
    words = "broke off" if says_length else "is not the file that was published"
    assert outcome.code == 2
    assert words in outcome.err.splitlines()[-1]
    before = NAMES[: NAMES.index(broken)]
    assert (held(folder) if folder.exists() else set()) == set(before)
    refused("", "train", "--data", name, "--data-dir", folder)  # half a set is no set
    server.breaks_in.clear()
    server.asked.clear()
    fetch(server, folder, name)
    assert server.asked == NAMES[len(before) :]
    assert {n: (folder / n).read_bytes() for n in held(folder)} == FILES


@pytest.mark.parametrize(
    ("name", "words"), [("fashion", "SHA-256"), ("mnist", "has the MD5")]
)
def test_another_file_than_the_published_one_is_refused(
    name: str, words: str, server: Server, tmp_path: Path
) -> None:
    server.files[NAMES[0]] = gzip.compress(b"something else")
    refused_and_gone(words, server, tmp_path / "set", name)


def test_a_page_in_place_of_the_file_is_refused(server: Server, tmp_path: Path) -> None:
    server.files[NAMES[0]] = b"<html>please log in</html>"
    refused_and_gone("is no whole gzip file", server, tmp_path / "set", "fashion")


def test_a_file_that_the_server_does_not_have_is_refused(
    server: Server, tmp_path: Path
) -> None:
    del server.files[NAMES[0]]
    refused_and_gone("is not to be had (404)", server, tmp_path / "set", "fashion")


def test_a_server_that_is_gone_is_said_so(server: Server, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server.address = f"http://127.0.0.1:{free.getsockname()[1]}"
    refused_and_gone("cannot reach 127.0.0.1", server, tmp_path / "set", "mnist")


def test_a_wrong_file_in_the_cache_is_replaced_once_the_right_one_is_whole(
    server: Server,
) -> None:
    path = download.cache_folder("fashion") / NAMES[1]
    path.parent.mkdir(parents=True)
    path.write_bytes(FILES[NAMES[1]][:20])
    server.breaks_in = {NAMES[1]}
    assert minivae("data", "get", "fashion", "--mirror", server.address).code == 2
    assert path.read_bytes() == FILES[NAMES[1]][:20]
    server.breaks_in.clear()
    done("data", "get", "fashion", "--mirror", server.address)
    assert path.read_bytes() == FILES[NAMES[1]]


def test_a_wrong_file_in_a_folder_of_ones_own_is_left_alone(
    server: Server, tmp_path: Path
) -> None:
    path = tmp_path / NAMES[2]
    path.write_bytes(b"mine")
    refused(
        "is not the file that was published: remove it",
        *("data", "get", "fashion", "--data-dir", tmp_path),
        *("--mirror", server.address),
    )
    assert path.read_bytes() == b"mine"
    assert server.asked == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("cifar",), "no data set 'cifar' to download; have fashion, mnist"),
        (("fashion10k",), "no data set 'fashion10k' to download"),
        (("mnist", "--mirror", "ftp://x/y"), "must be an http or https address"),
        (("mnist", "--mirror", "files"), "must be an http or https address"),
    ],
)
def test_what_cannot_be_fetched_is_refused(
    options: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    refused(words, "data", "get", *options, "--data-dir", tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_folder_that_is_a_file_is_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "set"
    refused(
        "cannot write to",
        *("data", "get", "mnist", "--data-dir", folder, "--mirror", server.address),
    )


# The list


def listed(*options: object) -> dict[str, list[str]]:
    _, *lines = done("data", "list", *options).splitlines()
    return {name: rest for name, *rest in map(str.split, lines)}


def test_the_list_says_where_each_set_is_or_how_to_get_it(
    server: Server, tmp_path: Path
) -> None:
    rows = listed()
    drawn = {"sprites16", "sprites32", "sprites64"}
    assert rows.keys() == {"fashion10k", "digits", "fashion", "mnist"} | drawn
    assert rows["fashion10k"] == ["packaged", str(PACKAGED)]
    assert rows["digits"][0] == "packaged"
    assert rows["mnist"] == ["missing", "minivae", "data", "get", "mnist"]
    done("data", "get", "mnist", "--mirror", server.address)
    assert listed()["mnist"] == ["cache", str(download.cache_folder("mnist"))]
    fetch(server, tmp_path / "debian")
    assert listed()["fashion"] == ["Debian", str(tmp_path / "debian")]
    (tmp_path / "debian" / NAMES[0]).unlink()
    assert listed()["fashion"][0] == "missing"


def test_the_list_looks_into_a_folder_that_it_is_given(
    server: Server, tmp_path: Path
) -> None:
    fetch(server, tmp_path / "set")
    rows = listed("--data-dir", tmp_path / "set")
    assert rows["fashion"] == ["given", str(tmp_path / "set")]


# The digests


def test_the_digests_are_those_of_the_packaged_files() -> None:
    """The small sets stand in above; these are the real ones."""
    known = {file.name: file.sha256 for file in PUBLISHED}
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        content = gzip.decompress((PACKAGED / name).read_bytes())
        assert hashlib.sha256(content).hexdigest() == known[name]
