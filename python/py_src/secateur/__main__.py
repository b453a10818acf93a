"""``python -m secateur`` is the program ``secateur``."""

import sys

from ._command import main

sys.exit(main())
