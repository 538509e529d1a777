"""Runs the command line as ``python -m nemotron_ros.cli``."""

import sys

from nemotron_ros.cli import main

sys.exit(main())
