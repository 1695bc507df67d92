"""Where in a kernel's text a fault is: the compiler's line numbers, read by addr2line where there is one."""

import re
import shutil
import subprocess

PLACE = re.compile(r"\{\+([0-9a-f]+)\}")


def with_places(complaint: str, library: str) -> str:
    """Return a complaint with " at file:line" for each instruction's distance from the library's beginning."""
    command = shutil.which("addr2line")
    found: dict[str, str] = {}
    distances = list(dict.fromkeys(PLACE.findall(complaint)))
    if command and distances:
        done = subprocess.run(
            [command, "-e", library, *distances], capture_output=True, text=True, check=False
        )
        for distance, line in zip(distances, done.stdout.splitlines(), strict=False):
            file, _, number = line.rpartition("/")[2].partition(":")
            if number and number[0].isdigit() and number[0] != "0":
                found[distance] = f" at {file}:{number.split()[0]}"
    return PLACE.sub(lambda place: found.get(place[1], ""), complaint)
