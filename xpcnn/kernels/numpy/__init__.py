"""NumPy substitutes: the batch last in memory, and a tile of columns at a time. Read these last.

Arrays stay (N,C,H,W) to everybody, but a convolution lays its result out as (C,H,W,N) and hands out a view.
A row of windows is then OW*N numbers in one piece, so unrolling is a few long copies, pooling reads long
rows, Flatten is a view, and no matrix product needs a transposed copy. NumPy's elementwise functions keep
the order they find.
"""

from xpcnn.kernels.numpy.affine import affine_backward
from xpcnn.kernels.numpy.conv import conv, conv_backward
from xpcnn.kernels.numpy.pooling import max_pool_backward

SUBSTITUTES = {op.__name__: op for op in (affine_backward, conv, conv_backward, max_pool_backward)}
