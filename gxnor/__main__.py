"""`python -m gxnor` is the `gxnor` command."""

import sys

from gxnor.cli.main import main

sys.exit(main())
