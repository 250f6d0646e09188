"""Runs the command as ``python -m captum_video.cli``."""

import sys

from captum_video.cli._main import main

if __name__ == "__main__":
    sys.exit(main())
