"""Time a training step: the same program as `xpcnn benchmark`; --help lists its options."""

from xpcnn.commands.main import script

if __name__ == "__main__":
    script("benchmark")
