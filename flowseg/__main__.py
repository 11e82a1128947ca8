"""``python -m flowseg`` is the command line."""

from flowseg.cli import main

if __name__ == "__main__":
    main()
