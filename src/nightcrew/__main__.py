"""``python -m nightcrew``: the command line."""

from nightcrew.cli import main

if __name__ == "__main__":
    main()
