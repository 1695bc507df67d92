# ruff: noqa: E501  (a network is a line)
"""Small CNNs as users of PyTorch write them: what `xpcnn.interop.onnx` is held against. Needs PyTorch.

NETWORKS maps a name to a function that makes the network; SHAPES holds the image's shape where it is not (3, 16, 16).
"""

import torch
import torch.nn.functional as F
from torch import nn

SHAPE = (3, 16, 16)
SHAPES = {"mlp": (12,), "lenet": (1, 28, 28), "tall": (3, 24, 10), "already_pooled": (6, 4, 4)}


class Lambda(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Net(nn.Module):
    """Named modules and a forward that uses them."""

    def __init__(self, forward, **modules):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self._forward = forward

    def forward(self, x):
        return self._forward(self, x)


def conv(inputs, outputs, size=3, **more):
    return nn.Conv2d(inputs, outputs, size, **{"padding": size // 2, **more})


def conv_bn(inputs, outputs, size=3, activation=nn.ReLU, **more):
    return nn.Sequential(
        conv(inputs, outputs, size, bias=False, **more), nn.BatchNorm2d(outputs), activation()
    )


def head(channels, classes=5):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def residual_block(inputs, outputs, stride=1):
    shortcut = nn.Identity()
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    body = nn.Sequential(
        conv_bn(inputs, outputs, stride=stride), conv(outputs, outputs, bias=False), nn.BatchNorm2d(outputs)
    )
    return Net(lambda m, x: F.relu(m.body(x) + m.shortcut(x)), body=body, shortcut=shortcut)


def bottleneck(channels, inner):
    body = nn.Sequential(conv_bn(channels, inner, 1), conv_bn(inner, inner), conv(inner, channels, 1))
    return Net(lambda m, x: F.relu(x + m.body(x)), body=body)


def inception():
    return Net(
        lambda m, x: torch.cat([m.one(x), m.three(x), m.five(x), m.pool(x)], 1),
        one=conv(3, 2, 1),
        three=nn.Sequential(conv(3, 2, 1), nn.ReLU(), conv(2, 3, 3)),
        five=nn.Sequential(conv(3, 2, 1), nn.ReLU(), conv(2, 2, 5)),
        pool=nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(3, 2, 1)),
    )


def squeeze_excitation(channels, by):
    """The gate by linear layers, as in the paper's code, or by 1x1 convolutions, as in torchvision's."""
    inner = max(channels // 2, 1)
    if by == "linear":
        gate = nn.Sequential(nn.Linear(channels, inner), nn.ReLU(), nn.Linear(inner, channels), nn.Sigmoid())

        def forward(m, x):
            n, c = x.shape[:2]
            return x * m.gate(m.pool(x).view(n, c)).view(n, c, 1, 1)

    else:
        gate = nn.Sequential(conv(channels, inner, 1), nn.ReLU(), conv(inner, channels, 1), nn.Sigmoid())

        def forward(m, x):
            return m.gate(m.pool(x)) * x

    return Net(forward, pool=nn.AdaptiveAvgPool2d(1), gate=gate)


def squeeze_excitation_mean(channels):
    gate = nn.Sequential(nn.Linear(channels, channels), nn.Sigmoid())
    return Net(lambda m, x: x * m.gate(x.mean((2, 3)))[:, :, None, None], gate=gate)


def inverted_residual(channels):
    body = nn.Sequential(
        conv_bn(channels, 2 * channels, 1, nn.ReLU6),
        conv_bn(2 * channels, 2 * channels, 3, nn.ReLU6, groups=2 * channels),
        nn.Conv2d(2 * channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    )
    return Net(lambda m, x: x + m.body(x), body=body)


def dense_block(channels, growth):
    """DenseNet's: each layer reads all that came before, in one list."""

    def forward(m, x):
        features = [x]
        for layer in (m.one, m.two, m.three):
            features.append(layer(torch.cat(features, 1)))
        return torch.cat(features, 1)

    layers = {
        name: nn.Sequential(nn.ReLU(), conv(channels + i * growth, growth))
        for i, name in enumerate(("one", "two", "three"))
    }
    return Net(forward, **layers)


def after(function, **modules):
    """A convolution, then a function of its result (4 channels), then a global mean and a linear layer."""
    return Net(
        lambda m, x: m.fc(F.relu(function(m, m.first(x))).mean((2, 3))),
        first=conv(3, 4), fc=nn.Linear(4, 5), **modules,
    )  # fmt: skip


def flat(function, size=4 * 8 * 8):
    """Conv, ReLU, max pooling, then a function that flattens, then a linear layer."""
    return nn.Sequential(conv(3, 4), nn.ReLU(), nn.MaxPool2d(2), Lambda(function), nn.Linear(size, 5))


def ends(*modules):
    return nn.Sequential(conv(3, 4), nn.ReLU(), *modules)


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 3, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(3, 4, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10), nn.Softmax(1),
    )  # fmt: skip


NETWORKS = {
    # ---- plain
    "plain": lambda: flat(lambda x: torch.flatten(x, 1)),
    "mlp": lambda: nn.Sequential(nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 3, bias=False)),
    "lenet": lenet,
    "vgg": lambda: nn.Sequential(
        conv_bn(3, 4), conv_bn(4, 4), nn.MaxPool2d(2), conv_bn(4, 6), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(96, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 5),
    ),
    "alexnet": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 5, 2, 2), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2), conv(4, 6, groups=2), nn.ReLU(),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(54, 5),
    ),
    "dropout2d": lambda: nn.Sequential(conv(3, 4), nn.ReLU(), nn.Dropout2d(0.2), head(4)),
    "no_bias": lambda: nn.Sequential(conv(3, 4, bias=False), nn.ReLU(), head(4)),
    "tall": lambda: nn.Sequential(conv(3, 4, 3, stride=(2, 1)), nn.ReLU(), nn.Flatten(), nn.Linear(480, 5)),
    # ---- flattening
    "view_size": lambda: flat(lambda x: x.view(x.size(0), -1)),
    "view_minus_one": lambda: flat(lambda x: x.view(-1, 256)),
    "reshape_shape": lambda: flat(lambda x: x.reshape(x.shape[0], 256)),
    "reshape_product": lambda: flat(lambda x: x.reshape(x.shape[0], x.shape[1] * x.shape[2] * x.shape[3])),
    "flatten_two_steps": lambda: flat(lambda x: x.flatten(2).flatten(1)),
    "flatten_negative": lambda: flat(lambda x: x.flatten(-3)),
    "squeeze_pooled": lambda: ends(nn.AdaptiveAvgPool2d(1), Lambda(lambda x: x.squeeze(-1).squeeze(-1)), nn.Linear(4, 5)),
    "index_pooled": lambda: ends(nn.AdaptiveAvgPool2d(1), Lambda(lambda x: x.view(x.size(0), x.size(1))), nn.Linear(4, 5)),
    "unflatten": lambda: nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(48, 36), nn.Unflatten(1, (4, 3, 3)), conv(4, 2)),
    # ---- pooling
    "max_pool_ceil": lambda: ends(nn.MaxPool2d(3, 2, ceil_mode=True), nn.Flatten(), nn.Linear(256, 5)),
    "max_pool_padded": lambda: ends(nn.MaxPool2d(3, 2, 1), head(4)),
    "average_pool": lambda: ends(nn.AvgPool2d(3, 2), head(4)),
    "average_pool_padded": lambda: ends(nn.AvgPool2d(3, 2, 1), head(4)),
    "average_pool_uncounted": lambda: ends(nn.AvgPool2d(3, 2, 1, count_include_pad=False), head(4)),
    "average_pool_ceil": lambda: ends(nn.AvgPool2d(3, 2, ceil_mode=True), head(4)),
    "adaptive_2x2": lambda: ends(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)),
    "adaptive_max": lambda: ends(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
    "global_mean": lambda: ends(Lambda(lambda x: x.mean((2, 3))), nn.Linear(4, 5)),
    "global_mean_keepdim": lambda: ends(Lambda(lambda x: x.mean((-2, -1), keepdim=True)), conv(4, 5, 1), nn.Flatten()),
    "global_mean_twice": lambda: ends(Lambda(lambda x: x.mean(3).mean(2)), nn.Linear(4, 5)),
    "global_pool_then_conv": lambda: ends(nn.AdaptiveAvgPool2d(1), conv(4, 6, 1), nn.ReLU(), nn.Flatten(), nn.Linear(6, 5)),
    "global_pool_last": lambda: ends(conv(4, 5, 1), nn.AdaptiveAvgPool2d(1)),
    "global_pool_first": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5)),
    "already_pooled": lambda: nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.BatchNorm1d(6), nn.Linear(6, 2)),
    # ---- activations
    "relu6": lambda: nn.Sequential(conv(3, 4), nn.ReLU6(), head(4)),
    "clamp": lambda: after(lambda m, x: x.clamp(-0.5, 0.5)),
    "hardtanh": lambda: nn.Sequential(conv(3, 4), nn.Hardtanh(), head(4)),
    "clamp_below": lambda: after(lambda m, x: x.clamp(min=-0.25)),
    "leaky_relu": lambda: nn.Sequential(conv(3, 4), nn.LeakyReLU(0.1), head(4)),
    "sigmoid": lambda: nn.Sequential(conv(3, 4), nn.Sigmoid(), head(4)),
    "silu": lambda: nn.Sequential(conv(3, 4), nn.SiLU(), head(4)),
    "softmax_channels": lambda: ends(conv(4, 5, 1), nn.Softmax(1)),
    "softmax_last": lambda: ends(head(4), nn.Softmax(-1)),
    "relu_in_place": lambda: nn.Sequential(conv(3, 4), nn.ReLU(inplace=True), head(4)),
    # ---- convolution
    "depthwise_separable": lambda: nn.Sequential(conv_bn(3, 3, groups=3), conv_bn(3, 6, 1), head(6)),
    "dilated": lambda: nn.Sequential(conv(3, 4, 3, padding=2, dilation=2), nn.ReLU(), head(4)),
    "padding_same": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), nn.ReLU(), head(4)),
    "padding_same_even": lambda: nn.Sequential(nn.Conv2d(3, 4, 4, padding="same"), nn.ReLU(), head(4)),
    "zero_pad": lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 2, 1)), nn.Conv2d(3, 4, 3, 2), nn.ReLU(), head(4)),
    "fully_convolutional": lambda: nn.Sequential(conv_bn(3, 4), conv(4, 2, 1)),
    # ---- branches
    "residual": lambda: nn.Sequential(conv_bn(3, 4), residual_block(4, 4), residual_block(4, 6, 2), head(6)),
    "bottleneck": lambda: nn.Sequential(conv(3, 6), bottleneck(6, 3), head(6)),
    "pre_activation": lambda: nn.Sequential(
        conv(3, 4), Net(lambda m, x: x + m.body(x), body=nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), conv(4, 4))), head(4),
    ),
    "inception": lambda: nn.Sequential(inception(), nn.ReLU(), head(9)),
    "dense_block": lambda: nn.Sequential(dense_block(3, 2), head(9)),
    "fire": lambda: after(
        lambda m, x: torch.cat([m.one(x), m.three(x)], 1), one=conv(4, 2, 1), three=conv(4, 2),
    ),
    "se_linear": lambda: nn.Sequential(conv_bn(3, 4), squeeze_excitation(4, "linear"), head(4)),
    "se_conv": lambda: nn.Sequential(conv_bn(3, 4), squeeze_excitation(4, "conv"), head(4)),
    "se_mean": lambda: nn.Sequential(conv_bn(3, 4), squeeze_excitation_mean(4), head(4)),
    "se_residual": lambda: nn.Sequential(
        conv(3, 4),
        Net(lambda m, x: F.relu(x + m.gate(m.body(x))), body=conv_bn(4, 4), gate=squeeze_excitation(4, "conv")), head(4),
    ),
    "inverted_residual": lambda: nn.Sequential(conv_bn(3, 4, 3, nn.ReLU6, stride=2), inverted_residual(4), head(4)),
    "two_adds": lambda: after(lambda m, x: x + m.one(x) + m.two(x), one=conv(4, 4), two=conv(4, 4, 1)),
    "two_adds_in_a_row": lambda: after(
        lambda m, x: x + m.one(x) + m.two(m.one(x)), one=conv(4, 4), two=conv(4, 4, 1)
    ),
    "added_twice": lambda: after(_added_twice, one=conv(4, 4), two=conv(4, 4, 1)),
    # ---- arithmetic with constants
    "normalized_input": lambda: nn.Sequential(
        Lambda(lambda x: (x - torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1)),
        conv(3, 4), nn.ReLU(), head(4),
    ),
    "scaled": lambda: after(lambda m, x: x * 0.5 + 1),
    "residual_scaled": lambda: after(lambda m, x: x + 0.1 * m.one(x), one=conv(4, 4)),
    "matmul": lambda: Net(
        lambda m, x: torch.matmul(torch.flatten(m.first(x), 1), m.fc.weight.t()), first=conv(3, 2), fc=nn.Linear(512, 5),
    ),
    # ---- larger images
    "transposed_conv": lambda: ends(nn.ConvTranspose2d(4, 3, 2, 2), head(3)),
    "autoencoder": lambda: nn.Sequential(
        conv(3, 4, stride=2), nn.ReLU(), conv(4, 6, stride=2), nn.ReLU(),
        nn.ConvTranspose2d(6, 4, 3, 2, 1, output_padding=1), nn.ReLU(), nn.ConvTranspose2d(4, 3, 4, 2, 1), nn.Sigmoid(),
    ),
    "transposed_conv_groups": lambda: ends(nn.ConvTranspose2d(4, 6, 3, (2, 3), 1, (1, 2), groups=2, bias=False, dilation=2), head(6)),
    "interpolate": lambda: ends(nn.Upsample(scale_factor=2), head(4)),
    "interpolate_size": lambda: ends(nn.MaxPool2d(4), Lambda(lambda x: F.interpolate(x, (8, 12))), head(4)),
    "interpolate_bilinear": lambda: ends(nn.Upsample(scale_factor=(2, 3), mode="bilinear"), conv(4, 2)),
    "interpolate_corners": lambda: ends(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), head(4)),
    "interpolate_smaller": lambda: ends(nn.Upsample(scale_factor=0.5), head(4)),
    "unet": lambda: Net(
        lambda m, x: m.out(m.join(m.left(x))), left=conv_bn(3, 4), out=conv(8, 2, 1),
        join=Net(
            lambda m, x: torch.cat([x, m.up(m.down(x))], 1),
            down=nn.Sequential(nn.MaxPool2d(2), conv_bn(4, 6)), up=nn.ConvTranspose2d(6, 4, 2, 2),
        ),
    ),
    "unet_bilinear": lambda: after(
        lambda m, x: x + F.interpolate(m.down(x), scale_factor=2, mode="bilinear"), down=nn.Sequential(nn.AvgPool2d(2), conv(4, 4)),
    ),
    # ---- normalisation of each sample
    "group_norm": lambda: nn.Sequential(conv(3, 4), nn.GroupNorm(2, 4), nn.ReLU(), head(4)),
    "group_norm_one": lambda: nn.Sequential(conv(3, 4), nn.GroupNorm(1, 4, 1e-3, affine=False), nn.SiLU(), head(4)),
    "instance_norm": lambda: nn.Sequential(conv(3, 4), nn.InstanceNorm2d(4), nn.ReLU(), head(4)),
    "instance_norm_affine": lambda: nn.Sequential(conv(3, 4), nn.InstanceNorm2d(4, affine=True), nn.ReLU(), head(4)),
    "layer_norm": lambda: nn.Sequential(conv(3, 4), nn.AvgPool2d(4), nn.Flatten(), nn.LayerNorm(64), nn.Linear(64, 5)),
    "layer_norm_images": lambda: nn.Sequential(conv(3, 4), nn.AvgPool2d(4), nn.LayerNorm((4, 4, 4)), nn.GELU(), head(4)),
    "layer_norm_rows": lambda: nn.Sequential(conv(3, 4), nn.LayerNorm(16, elementwise_affine=False), nn.ReLU(), head(4)),
    "channels_last_norm": lambda: after(lambda m, x: m.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), norm=nn.LayerNorm(4)),
    # ---- smooth activations, sums and maxima
    "gelu": lambda: nn.Sequential(conv(3, 4), nn.GELU(), head(4)),
    "gelu_tanh": lambda: nn.Sequential(conv(3, 4), nn.GELU(approximate="tanh"), head(4)),
    "swish": lambda: after(lambda m, x: m.next(x * torch.sigmoid(x)), next=conv(4, 4)),
    "mish": lambda: nn.Sequential(conv(3, 4), nn.Mish(), head(4)),
    "efficient": lambda: nn.Sequential(conv_bn(3, 4, 3, nn.SiLU), squeeze_excitation(4, "conv"), conv_bn(4, 6, 1, nn.SiLU), head(6)),
    "three_branches": lambda: after(
        lambda m, x: m.one(x) + m.two(x) + m.three(x), one=conv(4, 4), two=conv(4, 4, 1), three=nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.SiLU()),
    ),
    "global_max": lambda: ends(Lambda(lambda x: x.amax((2, 3))), nn.Linear(4, 5)),
    "global_max_then_conv": lambda: ends(nn.AdaptiveMaxPool2d(1), conv(4, 6, 1), nn.GELU(), nn.Flatten(), nn.Linear(6, 5)),
    # ---- refused, until there are layers
    "conv1d": lambda: nn.Sequential(nn.AvgPool2d(4), nn.Flatten(2), nn.Conv1d(3, 4, 3), nn.Flatten(), nn.Linear(56, 5)),
    "dense_layer_last": lambda: ends(nn.Linear(16, 3)),
    "elu": lambda: nn.Sequential(conv(3, 4), nn.ELU(), head(4)),
    "hardswish": lambda: nn.Sequential(conv(3, 4), nn.Hardswish(), head(4)),
    "log_softmax": lambda: ends(head(4), nn.LogSoftmax(1)),
    "padding_reflect": lambda: nn.Sequential(conv(3, 4, padding_mode="reflect"), nn.ReLU(), head(4)),
    "pixel_shuffle": lambda: ends(nn.PixelShuffle(2), head(1)),
    "prelu": lambda: nn.Sequential(conv(3, 4), nn.PReLU(4), head(4)),
    "shuffle_channels": lambda: ends(nn.AvgPool2d(4), Lambda(lambda x: x.transpose(1, 2).contiguous()), nn.Flatten(), nn.Linear(64, 5)),
}  # fmt: skip


def _added_twice(m, x):
    """x + a + g(a): the two sums have to be taken the other way round to be a residual block in another."""
    a = m.one(x)
    return x + a + m.two(a)


def make(name):
    """The network in evaluation, with weights of seed 0 and running statistics that are not 0 and 1; its image's shape."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    for module in network.modules():
        if isinstance(module, (nn.GroupNorm, nn.InstanceNorm2d, nn.LayerNorm)) and module.weight is not None:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval(), SHAPES.get(name, SHAPE)


def strip(file):
    """Leave out of a file what no reader needs: where in PyTorch's sources each operator came from."""
    import onnx

    proto = onnx.load(file)
    graph = proto.graph
    del proto.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    onnx.save(proto, file)


def export(name, file, exporter="dynamo", batch=None, **more):
    """Write a network with one of PyTorch's two exporters, for `batch` images, or (None) for any number."""
    network, shape = make(name)
    images = torch.zeros(batch or 2, *shape)
    dynamo = exporter == "dynamo"
    if dynamo:
        more |= {"verbose": False, "external_data": False}
    if batch is None and dynamo:
        more["dynamic_shapes"] = ({0: torch.export.Dim("N")},)
    elif batch is None:
        more |= {"dynamic_axes": {"images": {0: "N"}, "scores": {0: "N"}}}
    torch.onnx.export(
        network, (images,), str(file), input_names=["images"], output_names=["scores"], dynamo=dynamo, **more
    )
