"""``python -m xpcnn``: a door to `xpcnn.commands`."""

import sys

from xpcnn.commands.command_line import run
from xpcnn.commands.main import main

if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
