"""``python -m xpcnn``: what this machine can run, and how to repair what it cannot.

The exit status is 0 if the backend that XPCNN_BACKEND asks for is usable, else 1.
"""

import sys

from xpcnn.diagnosis import diagnose


def main() -> int:
    """Print the diagnosis; return the exit status."""
    text, usable = diagnose()
    print(text)
    return 0 if usable else 1


if __name__ == "__main__":
    sys.exit(main())
