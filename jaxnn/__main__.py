"""``python -m jaxnn`` is the command ``jaxnn``."""

import sys

from jaxnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
