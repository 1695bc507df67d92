"""``python -m xpcnn``: the program `xpcnn`."""

from xpcnn.commands.main import console, main

__all__ = ["main"]

if __name__ == "__main__":
    console()
