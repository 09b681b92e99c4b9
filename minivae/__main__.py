"""`python -m minivae` is the command `minivae`."""

from minivae.cli import main

if __name__ == "__main__":
    main()
