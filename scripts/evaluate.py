"""Test a trained network: the same program as `xpcnn evaluate`; --help lists its options."""

from xpcnn.commands.main import script

if __name__ == "__main__":
    script("evaluate")
