"""`python -m nnrec`: the command line."""

import sys

from nnrec.cli import main

if __name__ == "__main__":
    sys.exit(main())
