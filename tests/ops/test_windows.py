"""im2col against loops; col2im as its adjoint."""

import numpy as np
import reference
from hypothesis import given
from strategies import assert_close, dtypes, image_cases, layouts, normal, seeds, unchanged, upload

from xpcnn import ops
from xpcnn.backend import to_host
from xpcnn.geometry import Window
from xpcnn.ops.windows import crop, pad, padded_shape


@given(image_cases(), seeds, dtypes, layouts)
def test_im2col_copies_every_receptive_field(backend, case, seed, dtype, layout):
    shape, window = case
    image = normal(seed, shape, dtype=dtype)
    x = upload(image, layout)
    with unchanged(x):
        cols = ops.im2col(x, Window(**window), fill=7)
    assert_close(cols, reference.im2col(image, window, fill=7), dtype, rtol=0, atol=0)


@given(image_cases(), seeds, dtypes, layouts)
def test_col2im_is_the_adjoint(backend, case, seed, dtype, layout):
    shape, window = case
    ours = Window(**window)
    image = normal(seed, shape, dtype=dtype)
    unrolled = reference.im2col(image, window)
    columns = normal(seed + 1, unrolled.shape, dtype=dtype)
    cols = upload(columns, layout)
    with unchanged(cols):
        back = ops.col2im(cols, shape[2:], ours)
    assert back.shape == shape
    assert back.dtype == dtype
    scale = np.linalg.norm(unrolled) * np.linalg.norm(columns) + 1
    difference = reference.inner(unrolled, columns) - reference.inner(image, to_host(back))
    assert abs(difference) < scale * (1e-5 if dtype == "float32" else 1e-12)


@given(image_cases(), seeds)
def test_crop_is_the_inverse_of_pad(backend, case, seed):
    shape, window = case
    image, ours = normal(seed, shape), Window(**window)
    padded = pad(upload(image), ours, -1.0)
    assert padded.shape == padded_shape(shape, ours)
    assert_close(crop(padded, shape[2:], ours), image, "float64", rtol=0, atol=0)
