"""`python -m lenses_min` is the command `lenses-min`."""

import sys

from .cli import main

sys.exit(main())
