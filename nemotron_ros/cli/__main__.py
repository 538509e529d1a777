"""Runs the command line as ``python -m nemotron_ros.cli``."""

import sys

from nemotron_ros.cli import main

if __name__ == '__main__':
    sys.exit(main())
