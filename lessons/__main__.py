"""The command `python -m lessons`."""

from lessons.kit.commands import main

main()
