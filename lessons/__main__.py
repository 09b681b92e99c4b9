"""The command `python -m lessons`."""

import sys

try:
    from lessons.kit.commands import main
except ModuleNotFoundError as error:
    if (error.name or "").startswith("lessons"):
        raise
    print(
        f"lessons: {error.name} is missing. The lessons need the package minivae: "
        "pip install -e . in a clone of the project",
        file=sys.stderr,
    )
    sys.exit(2)

main()
