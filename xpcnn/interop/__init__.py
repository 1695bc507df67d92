"""Weights and networks that travel: to and from PyTorch, and ONNX."""
