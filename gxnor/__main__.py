"""`python -m gxnor` is the `gxnor` command."""

import sys

from gxnor.cli import main

sys.exit(main())
