"""One step of training and of evaluation."""

import torch
from torch import Tensor, nn

from jaxnn.recipe import Clip, Input, Loss
from torchref import losses, optim
from torchref.distributed import ALONE, Ranks


def normalize(images: Tensor, input: Input, dtype: torch.dtype) -> Tensor:
    """uint8 (batch, height, width, channels) -> ``dtype`` (batch, channels, height, width), scaled as ``input`` says.

    As torchvision's ToTensor and Normalize: x / 255, then (x - mean) / std. A table (batch, features)
    was made ready by jaxnn.data and is only converted.
    """
    if images.ndim == 2:
        return images.to(dtype)
    scaled = images.permute(0, 3, 1, 2).to(dtype, memory_format=torch.contiguous_format).div_(255)
    if (input.mean, input.std) == (0.0, 1.0):
        return scaled
    return scaled.sub_(_over_channels(input.mean, scaled)).div_(_over_channels(input.std, scaled))


def _over_channels(value: float | tuple[float, ...], images: Tensor) -> float | Tensor:
    return images.new_tensor(value).view(-1, 1, 1) if isinstance(value, tuple) else value


def predict(outputs: Tensor) -> Tensor:
    """Class numbers (batch,): the first largest output, or whether the only one, the log-odds, is above 0."""
    return (outputs.squeeze(1) > 0).long() if outputs.shape[1] == 1 else outputs.argmax(1)


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: losses.LossFunction,
    clip: Clip,
    inputs: Tensor,
    labels: Tensor,
    *,
    skips: bool = False,
    ranks: Ranks = ALONE,
) -> tuple[Tensor, Tensor]:
    """Updates the model in place on one batch; the loss and the number of correct predictions before the update.

    ``skips``: a loss or gradient that is not finite changes nothing, gives a loss of NaN and no correct prediction.
    ``ranks``: each of these processes has a share of the batch, and ``model`` averages their gradients; the loss is
    then the mean of theirs.
    """
    optimizer.zero_grad()
    buffers = [buffer.clone() for buffer in model.buffers()] if skips else []
    outputs = model(inputs)
    value = loss(outputs, labels)
    value.backward()
    value, correct = ranks.combine(value.detach(), (predict(outputs.detach()) == labels).sum())
    if skips and not _finite(value, *(p.grad for p in model.parameters() if p.grad is not None)):
        with torch.no_grad():
            for buffer, before in zip(model.buffers(), buffers, strict=True):
                buffer.copy_(before)
        optim.skip(optimizer)
        return torch.full_like(value, torch.nan), torch.zeros_like(correct)
    optim.clip(model.parameters(), clip)
    optimizer.step()
    return value, correct


def _finite(*tensors: Tensor) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def eval_step(model: nn.Module, loss: Loss, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of each example and its predicted class, both (batch,)."""
    with torch.inference_mode():
        outputs = model(inputs)
        return losses.per_example(loss, outputs, labels), predict(outputs)
