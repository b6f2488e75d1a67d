"""A network that is built as Stable Diffusion's is, some 35 times smaller, with random weights: convolutions with what
they skip, and attention to all places and to a text. What it draws is noise; what it costs is of the same kinds."""

from pathlib import Path
from typing import Any

import numpy
from onnx import TensorProto, helper, numpy_helper, save_model

#: Channels by level, from 64 x 64 latents on; heads of attention; width of the text's vectors.
CHANNELS = (64, 128, 256)
_HEADS = 8
_TEXT = 8
_CONDITION = 256
_GROUPS = 32


def write(path: Path) -> None:
    """unet/model.onnx. Beside it what the others of a tiny model are."""
    made = _Graph()
    condition = made.time("timestep")
    text = "encoder_hidden_states"
    x = made.convolution("sample", 4, CHANNELS[0])
    skipped: list[tuple[str, int]] = [(x, CHANNELS[0])]
    last = CHANNELS[0]
    for level, channels in enumerate(CHANNELS):
        for _ in range(2):
            x = made.block(x, last, channels, condition)
            last = channels
            if level:
                x = made.attention(x, channels, text)
            skipped.append((x, channels))
        if level < len(CHANNELS) - 1:
            x = made.convolution(x, channels, channels, stride=2)
            skipped.append((x, channels))
    x = made.block(made.attention(made.block(x, last, last, condition), last, text), last, last, condition)
    for level, channels in reversed(list(enumerate(CHANNELS))):
        for _ in range(3):
            kept, width = skipped.pop()
            x = made.block(made.add("Concat", x, kept, axis=1), last + width, channels, condition)
            last = channels
            if level:
                x = made.attention(x, channels, text)
        if level:
            large = made.add("Resize", x, "", made.constant(numpy.array([1, 1, 2, 2], numpy.float32)), mode="nearest")
            x = made.convolution(large, channels, channels)
    x = made.convolution(made.active(made.norm(x, last)), last, 4)
    made.nodes.append(helper.make_node("Tanh", [x], ["out_sample"]))
    made.save(path)


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self._weights: list[Any] = []
        self._random = numpy.random.RandomState(3)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operator}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, values: Any) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(values, name))
        return name

    def random(self, *shape: int, of: int) -> str:
        """of: numbers that each result is a sum of, so that it stays as large as they are."""
        return self.constant((self._random.standard_normal(shape) / of**0.5).astype(numpy.float32))

    def shape(self, *sides: int) -> str:
        return self.constant(numpy.array(sides, numpy.int64))

    def convolution(self, x: str, inputs: int, outputs: int, *, stride: int = 1, side: int = 3) -> str:
        kernel = self.random(outputs, inputs, side, side, of=inputs * side**2)
        bias = self.constant(numpy.zeros(outputs, numpy.float32))
        return self.add("Conv", x, kernel, bias, strides=[stride] * 2, pads=[side // 2] * 4)

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        return self.add("MatMul", x, self.random(inputs, outputs, of=inputs))

    def active(self, x: str) -> str:
        return self.add("Mul", x, self.add("Sigmoid", x))

    def norm(self, x: str, channels: int) -> str:
        """Of groups of channels, as PyTorch exports it: of instances, in another shape."""
        grouped = self.add("Reshape", x, self.shape(0, _GROUPS, -1))
        ones, zeros = (self.constant(numpy.full(_GROUPS, value, numpy.float32)) for value in (1, 0))
        even = self.add("InstanceNormalization", grouped, ones, zeros)
        back = self.add("Reshape", even, self.add("Shape", x))
        scale, shift = (self.constant(numpy.full((1, channels, 1, 1), value, numpy.float32)) for value in (1, 0))
        return self.add("Add", self.add("Mul", back, scale), shift)

    def time(self, name: str) -> str:
        half = _CONDITION // 2
        rates = numpy.exp(-numpy.log(10_000) * numpy.arange(half) / half).astype(numpy.float32)
        column = self.add("Unsqueeze", self.add("Cast", name, to=TensorProto.FLOAT), self.shape(1))
        angles = self.add("Mul", column, self.constant(rates))
        waves = self.add("Concat", self.add("Cos", angles), self.add("Sin", angles), axis=1)
        return self.active(self.linear(self.active(self.linear(waves, _CONDITION, _CONDITION)), _CONDITION, _CONDITION))

    def block(self, x: str, inputs: int, outputs: int, condition: str) -> str:
        inner = self.convolution(self.active(self.norm(x, inputs)), inputs, outputs)
        told = self.add("Unsqueeze", self.linear(condition, _CONDITION, outputs), self.shape(2, 3))
        inner = self.add("Add", inner, told)
        inner = self.convolution(self.active(self.norm(inner, outputs)), outputs, outputs)
        short = x if inputs == outputs else self.convolution(x, inputs, outputs, side=1)
        return self.add("Add", inner, short)

    def attention(self, x: str, channels: int, text: str) -> str:
        """To all places, to the text, and then of each place for itself."""
        flat = self.add("Reshape", self.norm(x, channels), self.shape(0, channels, -1))
        places = self.add("Transpose", flat, perm=[0, 2, 1])
        places = self.add("Add", places, self._looked(places, places, channels, channels))
        places = self.add("Add", places, self._looked(places, text, channels, _TEXT))
        wide = self.active(self.linear(places, channels, 4 * channels))
        places = self.add("Add", places, self.linear(wide, 4 * channels, channels))
        back = self.add("Transpose", places, perm=[0, 2, 1])
        return self.add("Add", x, self.add("Reshape", back, self.add("Shape", x)))

    def _looked(self, x: str, at: str, channels: int, width: int) -> str:
        each = channels // _HEADS
        split = self.shape(0, -1, _HEADS, each)
        query, key, value = (
            self.add("Reshape", self.linear(one, size, channels), split)
            for one, size in ((x, channels), (at, width), (at, width))
        )
        asked = self.add("Transpose", query, perm=[0, 2, 1, 3])
        scores = self.add("MatMul", asked, self.add("Transpose", key, perm=[0, 2, 3, 1]))
        shares = self.add("Softmax", self.add("Mul", scores, self.constant(numpy.float32(each**-0.5))), axis=-1)
        seen = self.add("MatMul", shares, self.add("Transpose", value, perm=[0, 2, 1, 3]))
        whole = self.add("Reshape", self.add("Transpose", seen, perm=[0, 2, 1, 3]), self.shape(0, -1, channels))
        return self.linear(whole, channels, channels)

    def save(self, path: Path) -> None:
        latents = ["batch", 4, "height", "width"]
        inputs = [
            helper.make_tensor_value_info("sample", TensorProto.FLOAT, latents),
            helper.make_tensor_value_info("timestep", TensorProto.INT64, ["steps"]),
            helper.make_tensor_value_info("encoder_hidden_states", TensorProto.FLOAT, ["batch", "sequence", _TEXT]),
        ]
        output = helper.make_tensor_value_info("out_sample", TensorProto.FLOAT, latents)
        graph = helper.make_graph(self.nodes, "unet", inputs, [output], self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_model(model, path)
