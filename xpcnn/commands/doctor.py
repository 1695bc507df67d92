"""What this machine can run, and how to repair what it cannot.

The exit status is 0 if the backend that XPCNN_BACKEND asks for is usable.
"""

from collections.abc import Sequence

from xpcnn.commands.command_line import new_parser
from xpcnn.commands.diagnosis import diagnose


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the diagnosis; return the exit status."""
    new_parser("doctor", __doc__).parse_args(arguments)
    text, usable = diagnose()
    print(text)
    return 0 if usable else 1
