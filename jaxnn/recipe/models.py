"""The architectures and their sizes; jaxnn.models and torchref.models build them.

``convolves``: whether convolutions are most of the work. ``head``: the last layer, under its PyTorch name.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxnn.errors import UserError
from jaxnn.recipe.checks import require


@dataclass(frozen=True, kw_only=True)
class MnistMLP:
    """Fully connected ReLU layers fc1, fc2, ... with log-probabilities out."""

    kind: Literal["mnist_mlp"] = "mnist_mlp"
    convolves: ClassVar[bool] = False
    hidden: tuple[int, ...] = (64, 64, 64)
    """Widths of the hidden layers."""
    dropout: float = 0.0
    """The probability after each of them."""

    def __post_init__(self) -> None:
        require(all(n > 0 for n in self.hidden), "model.hidden", self.hidden, "positive widths")
        require(0 <= self.dropout < 1, "model.dropout", self.dropout, "in [0, 1)")

    @property
    def head(self) -> str:
        return f"fc{len(self.hidden) + 1}"


@dataclass(frozen=True, kw_only=True)
class TabularMLP:
    """linear1 with ReLU, linear2 with sigmoid, then output."""

    kind: Literal["tabular_mlp"] = "tabular_mlp"
    convolves: ClassVar[bool] = False
    head: ClassVar[str] = "output"
    hidden: tuple[int, int] = (13, 8)
    """Widths of the hidden layers."""

    def __post_init__(self) -> None:
        require(all(n > 0 for n in self.hidden), "model.hidden", self.hidden, "positive widths")


@dataclass(frozen=True, kw_only=True)
class FashionMLP:
    """One hidden ReLU layer without biases, log-probabilities out."""

    kind: Literal["fashion_mlp"] = "fashion_mlp"
    convolves: ClassVar[bool] = False
    head: ClassVar[str] = "output"
    hidden: int = 128
    """Width of the hidden layer."""
    batch_norm: bool = False
    """BatchNorm of the image first."""

    def __post_init__(self) -> None:
        require(self.hidden > 0, "model.hidden", self.hidden, "a positive width")

    def require_input(self, input_shape: tuple[int, ...]) -> None:
        """Raises UserError if ``batch_norm``, which normalizes images, meets a table."""
        if self.batch_norm and len(input_shape) != 3:
            raise UserError(
                "model.batch_norm normalizes images, but the data set is a table; add --model.no-batch-norm"
            )


@dataclass(frozen=True, kw_only=True)
class ReluStack:
    """Fully connected layers, each followed by ReLU, the last one too."""

    kind: Literal["relu_stack"] = "relu_stack"
    convolves: ClassVar[bool] = False
    hidden: tuple[int, ...] = (512, 512)
    """Widths of the hidden layers."""

    def __post_init__(self) -> None:
        require(all(n > 0 for n in self.hidden), "model.hidden", self.hidden, "positive widths")

    @property
    def head(self) -> str:
        return f"linear_relu_stack.{2 * len(self.hidden)}"  # each layer has a ReLU behind it


@dataclass(frozen=True, kw_only=True)
class LeNet:
    """Two blocks of convolution, ReLU and 2x2 max-pool, then three fully connected layers."""

    kind: Literal["lenet"] = "lenet"
    convolves: ClassVar[bool] = True
    head: ClassVar[str] = "fc3"
    kernel_size: int = 5
    """Pixels each way."""
    channels: tuple[int, int] = (6, 16)
    """Of the two convolutions."""
    hidden: tuple[int, int] = (120, 84)
    """Widths of the hidden layers."""

    def __post_init__(self) -> None:
        require(self.kernel_size > 0, "model.kernel_size", self.kernel_size, "positive")
        for name in ("channels", "hidden"):
            value = getattr(self, name)
            require(all(n > 0 for n in value), f"model.{name}", value, "positive widths")

    def flat_features(self, input_shape: tuple[int, ...]) -> int:
        """The inputs of fc1 for images of (height, width, channels). Raises UserError if nothing would be left."""
        _require_images(self.kind, input_shape)
        height, width = ((((n - self.kernel_size + 1) // 2) - self.kernel_size + 1) // 2 for n in input_shape[:2])
        if min(height, width) < 1:
            raise UserError(
                f"images of {input_shape[0]}x{input_shape[1]} are too small for model lenet with "
                f"model.kernel_size {self.kernel_size}; use --input.size 32"
            )
        return self.channels[1] * height * width


@dataclass(frozen=True, kw_only=True)
class ResNet:
    """torchvision's residual network: a 7x7 convolution, four stages of blocks, average, fc."""

    kind: Literal["resnet"] = "resnet"
    convolves: ClassVar[bool] = True
    head: ClassVar[str] = "fc"
    block: Literal["basic", "bottleneck"] = "basic"
    """Two 3x3 convolutions, or 1x1, 3x3 and 1x1 to four times the width."""
    layers: tuple[int, int, int, int] = (2, 2, 2, 2)
    """Blocks of each stage."""

    def __post_init__(self) -> None:
        require(all(n > 0 for n in self.layers), "model.layers", self.layers, "positive numbers of blocks")

    def require_input(self, input_shape: tuple[int, ...]) -> None:
        """Raises UserError if the data set is a table."""
        _require_images(self.kind, input_shape)


@dataclass(frozen=True, kw_only=True)
class VGG:
    """torchvision's VGG: five stages of 3x3 convolutions, each with 2x2 max-pool, then two hidden layers."""

    kind: Literal["vgg"] = "vgg"
    convolves: ClassVar[bool] = True
    head: ClassVar[str] = "classifier.6"
    layers: tuple[int, int, int, int, int] = (2, 2, 3, 3, 3)
    """Convolutions of each stage."""
    dropout: float = 0.5
    """The probability after each of the hidden layers."""

    def __post_init__(self) -> None:
        require(all(n > 0 for n in self.layers), "model.layers", self.layers, "positive numbers of convolutions")
        require(0 <= self.dropout < 1, "model.dropout", self.dropout, "in [0, 1)")

    def require_input(self, input_shape: tuple[int, ...]) -> None:
        """Raises UserError if the data set is a table, or if pooling would leave nothing of its images."""
        _require_images(self.kind, input_shape)
        if min(input_shape[:2]) < 32:
            size = "x".join(map(str, input_shape[:2]))
            raise UserError(
                f"images of {size} are too small for model vgg, which halves them five times; use 32 or more"
            )


def _require_images(kind: str, input_shape: tuple[int, ...]) -> None:
    if len(input_shape) != 3:
        raise UserError(f"model {kind} needs images, but the data set is a table of {input_shape[0]} columns")


Model = MnistMLP | TabularMLP | FashionMLP | ReluStack | LeNet | ResNet | VGG
