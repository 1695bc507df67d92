"""Softmax with the cross-entropy: a warp a row, and one block for the mean."""

from typing import Any

from xpcnn.kernels.cuda.launch import Device
from xpcnn.kernels.precision import computing


def softmax_cross_entropy(device: Device, logits: Any, labels: Any) -> tuple[Any, Any]:
    """Substitute for `xpcnn.ops.softmax_cross_entropy`."""
    xp, (M, D) = device.xp, logits.shape
    logits, targets, kernel = _prepared(device, logits, labels)
    probabilities = xp.empty(logits.shape, logits.dtype)
    losses, loss = xp.empty(M, computing(logits.dtype)), xp.empty((), computing(logits.dtype))
    results = {"probabilities": probabilities, "losses": losses}
    device.launch(kernel, 32 * M, logits=logits, **targets, **results, M=M, D=D)
    device.launch("mean", 1, values=losses, result=loss, M=M)
    return loss, probabilities


def softmax_cross_entropy_backward(device: Device, probabilities: Any, labels: Any) -> Any:
    """Substitute for `xpcnn.ops.softmax_cross_entropy_backward`."""
    M, D = probabilities.shape
    p, targets, kernel = _prepared(device, probabilities, labels)
    dlogits = device.xp.empty(p.shape, p.dtype)
    if "targets" in targets:
        targets["sums"] = targets["targets"].sum(axis=1, dtype=computing(p.dtype))
    device.launch(f"{kernel}_backward", M * D, probabilities=p, **targets, dlogits=dlogits, M=M, D=D)
    return dlogits


def _prepared(device: Device, rows: Any, labels: Any) -> tuple[Any, dict[str, Any], str]:
    """Return contiguous rows, the targets under their name in the kernel, and the kernel's name."""
    if labels.ndim == 1:
        rows, labels = device.contiguous(rows, labels.astype(device.xp.int64, copy=False))
        return rows, {"labels": labels}, "cross_entropy_of_labels"
    rows, targets = device.contiguous(rows, labels.astype(rows.dtype, copy=False))
    return rows, {"targets": targets}, "cross_entropy_of_rows"
