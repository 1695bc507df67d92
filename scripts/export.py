"""Write a trained network as ONNX or for PyTorch: the same program as `xpcnn export`; --help lists its options."""

from xpcnn.commands.main import script

if __name__ == "__main__":
    script("export")
