"""Runs all linters and rules over deploy/."""

import sys

from deploy.lint.linters import main

sys.exit(main())
