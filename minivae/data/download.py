"""Downloading the sets that do not come with the package, or leaving no trace.

A file is right if it is the published one by its MD5 and, where we have its digest, by
the SHA-256 of what it unpacks to. That digest alone is enough: Debian packs the same
bytes anew, and so may a mirror. A file is downloaded beside its place and renamed into
it once it is right; what breaks off is removed, and the next call starts that file
anew. The test images come last: a set that is not whole yet is not read as one.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from minivae.errors import UserError

TIMEOUT = 30  # seconds without an answer
BLOCK = 1 << 16


@dataclass(frozen=True)
class File:
    """A published file: its MD5, and the SHA-256 of its decompressed bytes if known."""

    name: str
    md5: str
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """A published set of files: where it is to be had."""

    address: str
    files: tuple[File, ...]


SOURCES = {
    # The SHA-256s are of Debian's files. Those lack the name and have another date in
    # their gzip headers; with both put back they have the published MD5s.
    "fashion": Source(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        (
            File(
                "train-images-idx3-ubyte.gz",
                "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            File(
                "train-labels-idx1-ubyte.gz",
                "25c81989df183df01b3e8a0aad5dffbe",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            File(
                "t10k-labels-idx1-ubyte.gz",
                "bb300cfdad3c16e7a12a480ee83cd310",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
            File(
                "t10k-images-idx3-ubyte.gz",
                "bef4ecab320f06d8554ea6380940ec79",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
        ),
    ),
    "mnist": Source(  # we had no copy to take a SHA-256 of: the published MD5s only
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        (
            File("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            File("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
            File("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
            File("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        ),
    ),
}


def cache_folder(name: str) -> Path:
    """Return the folder that downloads of a set go to, unless told otherwise."""
    import pooch

    return Path(pooch.os_cache("minivae")) / name


def get(
    name: str,
    data_dir: str | Path | None = None,
    mirror: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Path:
    """Fetch what is missing of a set into `data_dir` or the cache; returns the folder.

    `mirror` replaces the address that the files are published at. Each file about to
    be fetched is told of first. Raises `UserError`, and leaves no half a file behind.
    """
    if name not in SOURCES:
        raise UserError(f"no data set {name!r} to download; have {', '.join(SOURCES)}")
    address = SOURCES[name].address if mirror is None else mirror.rstrip("/") + "/"
    if urlsplit(address).scheme not in ("http", "https"):
        raise UserError(f"the mirror must be an http or https address, not {mirror!r}")
    folder = cache_folder(name) if data_dir is None else Path(data_dir)
    wanted = [file for file in SOURCES[name].files if not _in_place(folder, file)]
    if data_dir is not None:  # the cache is ours to mend, another folder is not
        for file in wanted:
            if (folder / file.name).exists():
                raise UserError(
                    f"{folder / file.name} is not the file that was published: "
                    "remove it, or give another folder"
                )
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in wanted:
            tell(f"fetching {address}{file.name}")
            _fetch(address + file.name, folder, file)
    except BaseException as error:
        _remove_empty(made)
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise UserError(f"cannot write to {folder}: {reason}") from error
        raise
    return folder


def is_whole(folder: Path, name: str) -> bool:
    """Return whether all files of a set lie in a folder; does not read them."""
    names = [file.name for file in SOURCES[name].files]
    return all(
        (folder / n).is_file() or (folder / n.removesuffix(".gz")).is_file()
        for n in names
    )


def _in_place(folder: Path, file: File) -> bool:
    path = folder / file.name
    try:
        return path.is_file() and _fault(path, file) is None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _fault(path: Path, file: File) -> str | None:
    """Return what is wrong with a file, or None if it is the published one."""
    if file.sha256 is not None:
        try:
            with gzip.open(path) as unpacked:
                digest = hashlib.file_digest(unpacked, "sha256")
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return "is no whole gzip file"
        if digest.hexdigest() == file.sha256:
            return None
        return f"unpacks to bytes of SHA-256 {digest.hexdigest()}, not {file.sha256}"
    with path.open("rb") as packed:
        md5 = hashlib.file_digest(packed, "md5").hexdigest()
    return None if md5 == file.md5 else f"has the MD5 {md5}, not {file.md5}"


def _fetch(url: str, folder: Path, file: File) -> None:
    """Download a file into its place; what pooch has begun it removes if this fails."""
    import pooch
    import requests

    host = urlsplit(url).netloc

    def download_and_check(url: str, path: str, pooch: Any) -> None:
        with (
            requests.get(url, stream=True, timeout=TIMEOUT) as response,
            open(path, "wb") as written,
        ):
            response.raise_for_status()
            for block in response.iter_content(BLOCK):
                written.write(block)
        if fault := _fault(Path(path), file):
            raise UserError(f"{url} is not the file that was published: it {fault}")

    place = folder / file.name
    whole = place.with_name(file.name + ".part")
    whole.unlink(missing_ok=True)
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        pooch.retrieve(
            url,
            known_hash=None,  # checked already when pooch gives it its name
            fname=whole.name,
            path=folder,
            downloader=download_and_check,
        )
        whole.replace(place)
    except requests.HTTPError as error:
        code = "" if error.response is None else f" ({error.response.status_code})"
        raise UserError(
            f"{url} is not to be had{code}: --mirror gives another address"
        ) from error
    except (
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
    ) as error:
        raise UserError(
            f"{url} broke off: call again, files that came whole are kept"
        ) from error
    except (requests.ConnectionError, requests.Timeout) as error:
        raise UserError(
            f"cannot reach {host}: is there a network? (--mirror gives another address)"
        ) from error
    except requests.RequestException as error:
        raise UserError(f"{url}: {error}") from error
    finally:
        logger.setLevel(level)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # not empty, or never made
            return
