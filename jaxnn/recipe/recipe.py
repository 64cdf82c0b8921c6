"""The recipe itself: data, input, model, training, and how long."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pydantic

from jaxnn.errors import UserError
from jaxnn.recipe.checks import is_positive, require
from jaxnn.recipe.models import FashionMLP, MnistMLP, Model
from jaxnn.recipe.training import Clip, Loss, Optimizer, Schedule


@dataclass(frozen=True, kw_only=True)
class Input:
    """How examples are made ready: images fitted, scaled to [0, 1] and normalized, tables standardized."""

    size: int | None = None
    """Images are brought to so many pixels each way."""
    channels: int | None = None
    """Images are brought to 1 channel (grey) or 3 (RGB)."""
    fit: Literal["pad", "resize"] = "resize"
    """Zero padding, or bilinear resizing, which squeezes another aspect ratio and crops nothing."""
    mean: float | tuple[float, float, float] = 0.0
    """Taken from images in [0, 1]: one number for all channels, or one for each of three."""
    std: float | tuple[float, float, float] = 1.0
    """What images are divided by after that, likewise."""
    standardize: bool = False
    """Columns of a table get the mean 0 and the standard deviation 1 of the training split."""

    def __post_init__(self) -> None:
        require(self.size is None or self.size > 0, "input.size", self.size, "positive")
        require(self.channels in (None, 1, 3), "input.channels", self.channels, "1 or 3")
        for name, check, wanted in (("mean", math.isfinite, "finite"), ("std", is_positive, "finite and above 0")):
            value = getattr(self, name)
            each = value if isinstance(value, tuple) else (value,)
            require(all(map(check, each)), f"input.{name}", value, wanted)
            require(
                len(each) == 1 or self.channels == 3, f"input.{name}", value, "one number, as images have 1 channel"
            )


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Training images changed at random, before they are scaled, as torchvision's transforms do."""

    crop: int = 0
    """So many zero pixels are put around an image, which is cut to its size at a random place (RandomCrop)."""
    flip: bool = False
    """An image is mirrored with probability 1/2 (RandomHorizontalFlip)."""

    def __post_init__(self) -> None:
        require(self.crop >= 0, "augment.crop", self.crop, "a number of pixels, at least 0")

    @property
    def active(self) -> bool:
        return self.crop > 0 or self.flip


Precision = Literal["float32", "bfloat16", "float64"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the result of a training run."""

    name: str
    """What the recipe is called; `jaxnn train` does not change it."""
    model: Annotated[Model, pydantic.Field(discriminator="kind")]
    dataset: str | None
    """A named set, or the path of a CSV or TSV file, a folder or tar of images, a packed folder, or IDX files."""
    data_dir: str | None = None
    """The only place to search for a named set."""
    label: str | None = None
    """The class column of a table, by name or number; None: the last."""
    header: Literal["auto", "yes", "no"] = "auto"
    """Whether the first line of a table names its columns."""
    input: Input = field(default_factory=Input)
    augment: Augment = field(default_factory=Augment)
    weights: str | None = None
    """The state_dict, .pt or .safetensors, to start from; "pretrained": torchvision's in PyTorch's cache."""
    freeze_backbone: bool = False
    """Only the last layer is trained; dropout and BatchNorm's running statistics go on in the others."""
    batch_norm: Literal["global", "local"] = "global"
    """On several devices: statistics of the whole batch, or of each device's own share (the first's are kept)."""
    loss: Loss = field(default_factory=Loss)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    clip: Clip = field(default_factory=Clip)
    batch_size: int | None = None
    """Examples a step; None: the whole training split."""
    eval_batch_size: int = 1000
    """Examples at once in evaluation."""
    shuffle: bool = True
    """Draw a new order of the training examples for each epoch."""
    drop_last: bool = False
    """Leave out the last batch of an epoch if it is smaller."""
    epochs: int = 1
    """Passes over the training split."""
    steps: int | None = None
    """Train exactly so many steps, whatever --epochs says."""
    seed: int = 420
    """Of weights, order, masks, augmentation and generated data."""
    rng: Literal["torch", "jax"] = "torch"
    """The weights, batches and masks that torch.manual_seed(seed) gives, or JAX's own random streams."""
    precision: Precision = "float32"
    """The computations; bfloat16 keeps float32 weights."""
    dispatch: Literal["auto", "epoch", "step"] = "auto"
    """One compiled call for many steps, or one for each step; auto: the faster on this device."""
    log_every: int | None = None
    """Steps between reports of the running loss; None: none."""
    on_nan: Literal["stop", "skip"] = "stop"
    """A loss or gradient that is not finite: stop, or leave the step out (weights and moments stay) and count it."""

    def __post_init__(self) -> None:
        batch_size = self.batch_size
        require(batch_size is None or batch_size > 0, "batch_size", batch_size, "at least 1")
        require(self.eval_batch_size > 0, "eval_batch_size", self.eval_batch_size, "at least 1")
        require(self.epochs > 0, "epochs", self.epochs, "at least 1")
        require(self.steps is None or self.steps > 0, "steps", self.steps, "at least 1")
        require(self.log_every is None or self.log_every > 0, "log_every", self.log_every, "at least 1")
        if self.augment.active:
            if self.input.size is None:
                raise UserError(f"augment changes images, but recipe {self.name} takes a table")
            crop, size = self.augment.crop, self.input.size
            require(crop < size, "augment.crop", crop, f"smaller than the images of {size}x{size}")
        if self.loss.binary and isinstance(self.model, MnistMLP | FashionMLP):
            raise UserError(
                f"model {self.model.kind} ends in a log-softmax, of which a binary loss cannot use one output; "
                "use a recipe with a linear output, such as csv"
            )
        require(0 <= self.seed < 2**63, "seed", self.seed, "from 0 to 2**63 - 1")

    def replace(self, **changes: Any) -> "Recipe":
        """A copy with other fields; dotted names reach into groups: ``{"optimizer.momentum": 0.9}``."""
        groups: dict[str, dict[str, Any]] = {}
        for name in [n for n in changes if "." in n]:
            group, _, option = name.partition(".")
            groups.setdefault(group, {})[option] = changes.pop(name)
        nested = {group: dataclasses.replace(getattr(self, group), **options) for group, options in groups.items()}
        return dataclasses.replace(self, **changes, **nested)

    @property
    def trained_layer(self) -> str | None:
        """The PyTorch name of the only layer that is trained; None if all are."""
        return self.model.head if self.freeze_backbone else None

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str) -> "Recipe":
        """The recipe in ``text``. Raises UserError that names the first offending field of ``where``."""
        try:
            return _ADAPTER.validate_json(text, extra="forbid")
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            at = ".".join(map(str, first["loc"])) or "the file"
            raise UserError(f"{where} is not a valid recipe: {at}: {first['msg']}") from error


_ADAPTER = pydantic.TypeAdapter(Recipe)
