"""The script that made the folder `fashion10k`: a copy of two published files.

    python -m minivae.data.make_fashion10k FOLDER_WITH_THE_IDX_FILES [TARGET]

The 10,000 test images of Fashion-MNIST and their labels go into the package unchanged,
once their decompressed bytes have the published digests.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import sys
from pathlib import Path

from minivae.data.download import SOURCES
from minivae.errors import UserError

PACKAGED = Path(__file__).parent / "fashion10k"


def make(folder: Path, target: Path = PACKAGED) -> list[Path]:
    """Copy the two t10k files from `folder`; returns them. Raises `UserError`."""
    made = []
    for file in SOURCES["fashion"].files:
        if not file.name.startswith("t10k"):
            continue
        path = folder / file.name
        try:
            content = gzip.decompress(path.read_bytes())
        except (OSError, EOFError) as error:
            raise UserError(f"{path} cannot be read: {error}") from error
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise UserError(f"{path} is not the published file: its digest differs")
        target.mkdir(parents=True, exist_ok=True)
        made.append(Path(shutil.copyfile(path, target / file.name)))
    return made


if __name__ == "__main__":
    try:
        print(*make(*map(Path, sys.argv[1:3])), sep="\n")
    except (UserError, TypeError) as error:
        print(f"make_fashion10k: {error}", file=sys.stderr)
        sys.exit(2)
