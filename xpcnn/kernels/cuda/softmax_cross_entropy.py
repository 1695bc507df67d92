"""Softmax with the cross-entropy: a warp a row, and one block for the mean."""

from typing import Any

from xpcnn.kernels.cuda.launch import Device
from xpcnn.kernels.precision import computing


def softmax_cross_entropy(device: Device, logits: Any, labels: Any) -> tuple[Any, Any]:
    """Substitute for `xpcnn.ops.softmax_cross_entropy`."""
    xp, (M, D) = device.xp, logits.shape
    logits, targets, of = _prepare(device, logits, labels)
    probabilities = xp.empty(logits.shape, logits.dtype)
    losses, loss = xp.empty(M, computing(logits.dtype)), xp.empty((), computing(logits.dtype))
    device.launch(
        f"cross_entropy_of_{of}",
        32 * M,
        logits=logits,
        **targets,
        probabilities=probabilities,
        losses=losses,
        M=M,
        D=D,
    )
    device.launch("mean", 1, values=losses, result=loss, M=M)
    return loss, probabilities


def softmax_cross_entropy_backward(device: Device, probabilities: Any, labels: Any) -> Any:
    """Substitute for `xpcnn.ops.softmax_cross_entropy_backward`."""
    M, D = probabilities.shape
    probabilities, targets, of = _prepare(device, probabilities, labels)
    dlogits = device.xp.empty(probabilities.shape, probabilities.dtype)
    if of == "rows":
        targets["sums"] = targets["targets"].sum(axis=1, dtype=computing(dlogits.dtype))
    device.launch(
        f"cross_entropy_of_{of}_backward",
        M * D,
        probabilities=probabilities,
        **targets,
        dlogits=dlogits,
        M=M,
        D=D,
    )
    return dlogits


def _prepare(device: Device, rows: Any, labels: Any) -> tuple[Any, dict[str, Any], str]:
    """Return contiguous rows, the targets under the name they have in the kernel, and which kernel that is."""
    if labels.ndim == 1:
        rows, labels = device.contiguous(rows, labels.astype(device.xp.int64, copy=False))
        return rows, {"labels": labels}, "labels"
    rows, targets = device.contiguous(rows, labels.astype(rows.dtype, copy=False))
    return rows, {"targets": targets}, "rows"
