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
    """How examples are made ready for the model.

    Images: brought to ``size`` x ``size`` by ``fit`` (zero padding, or bilinear resizing, which squeezes another
    aspect ratio and crops nothing) and to ``channels``, scaled to [0, 1], then (x - mean) / std, for all channels or
    for each of three. Tables: ``standardize`` columns with the training split's mean and standard deviation.
    """

    size: int | None = None
    channels: int | None = None
    fit: Literal["pad", "resize"] = "resize"
    mean: float | tuple[float, float, float] = 0.0
    std: float | tuple[float, float, float] = 1.0
    standardize: bool = False

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
    """Training images changed at random, as torchvision's RandomCrop and RandomHorizontalFlip do.

    ``crop``: that many zero pixels are put around the image, which is then cut to its size at a random place.
    ``flip``: it is mirrored, left to right, with probability 1/2. Both act on the raw image, before it is scaled.
    """

    crop: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        require(self.crop >= 0, "augment.crop", self.crop, "a number of pixels, at least 0")

    @property
    def active(self) -> bool:
        return self.crop > 0 or self.flip


Precision = Literal["float32", "bfloat16", "float64"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the result of a training run.

    ``dataset``: a name or a path. ``batch_size`` None: the whole training split (full batch).
    ``steps``: train exactly that many steps, whatever ``epochs`` says. ``rng`` torch: the weights,
    batches and masks that torch.manual_seed(seed) gives; jax: JAX's own streams. ``dispatch``: one
    compiled call for many steps (epoch) or one for each (step). ``log_every``: steps between reports
    of the running loss. ``on_nan``: when a loss or a gradient is NaN or infinite, stop; or skip the step, so that
    weights, running statistics and the optimizer's moments stay, while schedule and bias correction go on.
    ``weights``: the state_dict, .pt or .safetensors, that the run starts from ("pretrained": torchvision's own in
    PyTorch's cache); its last layer may be for other classes. ``freeze_backbone``: only the last layer is trained, as
    with requires_grad False for all others in PyTorch; those have no gradient, decay or optimizer state and do not
    count in clip.norm, but dropout stays on and BatchNorm's running statistics still follow the batches.
    ``batch_norm``: on several devices BatchNorm takes the statistics of the whole batch, as on one, or of each device's
    own share (local), as PyTorch's DistributedDataParallel leaves it; its running ones are then the first share's.
    """

    name: str
    model: Annotated[Model, pydantic.Field(discriminator="kind")]
    dataset: str | None
    data_dir: str | None = None
    label: str | None = None
    header: Literal["auto", "yes", "no"] = "auto"
    input: Input = field(default_factory=Input)
    augment: Augment = field(default_factory=Augment)
    weights: str | None = None
    freeze_backbone: bool = False
    batch_norm: Literal["global", "local"] = "global"
    loss: Loss = field(default_factory=Loss)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    clip: Clip = field(default_factory=Clip)
    batch_size: int | None = None
    eval_batch_size: int = 1000
    shuffle: bool = True
    drop_last: bool = False
    epochs: int = 1
    steps: int | None = None
    seed: int = 420
    rng: Literal["torch", "jax"] = "torch"
    precision: Precision = "float32"
    dispatch: Literal["auto", "epoch", "step"] = "auto"
    log_every: int | None = None
    on_nan: Literal["stop", "skip"] = "stop"

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
