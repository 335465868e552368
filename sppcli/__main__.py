"""``python -m sppcli`` is ``spp``."""

import sys

from sppcli.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
