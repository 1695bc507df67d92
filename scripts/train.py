"""Train a network: the same program as `xpcnn train`; --help lists its options."""

from xpcnn.commands.main import script

if __name__ == "__main__":
    script("train")
