"""Mean loss, accuracy and confusion of a model on a split."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn

from jaxnn.checkpoint_choice import Choice
from jaxnn.data import Dataset, UserError
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir
from torchref import checkpoint, losses, models, precision, step, tensors
from torchref.distributed import ALONE, Ranks


def measure(
    model: nn.Module, recipe: Recipe, examples: tensors.Examples, classes: int, ranks: Ranks = ALONE
) -> dict[str, Any]:
    """loss, accuracy, class_accuracy (None for a class without examples), confusion[true][predicted], examples,
    first_predictions (the classes predicted of the first four).

    Accuracies are from 0 to 1. Leaves the model in training mode and torch's generator as it was. ``ranks``: each of
    these processes, whose models are alike, takes a share of the batches; all get the same result.
    """
    model.eval()
    dtype = precision.dtype(recipe.precision)
    values, predicted = [], []
    batches = torch.arange(len(examples.labels)).split(recipe.eval_batch_size)
    for number in ranks.share(torch.arange(len(batches))).tolist():
        batch = slice(int(batches[number][0]), int(batches[number][-1]) + 1)
        inputs, labels = examples.inputs[batch], examples.labels[batch]
        inputs = step.normalize(inputs, recipe.input, dtype)
        batch_values, batch_predicted = step.eval_step(model, recipe.loss, inputs, labels)
        values.append(batch_values)
        predicted.append(batch_predicted)
    model.train()
    values, predicted = (ranks.gather(found).to(examples.labels.device) for found in (values, predicted))
    pairs = examples.labels * classes + predicted
    confusion = torch.bincount(pairs, minlength=classes**2).reshape(classes, classes).tolist()
    correct = [confusion[label][label] for label in range(classes)]
    totals = [sum(row) for row in confusion]
    return {
        "loss": losses.mean(recipe.loss, values, examples.labels),
        "accuracy": sum(correct) / sum(totals),
        "class_accuracy": [c / total if total else None for c, total in zip(correct, totals, strict=True)],
        "confusion": confusion,
        "examples": sum(totals),
        "first_predictions": predicted[:4].tolist(),
    }


def evaluate(
    recipe: Recipe,
    dataset: Dataset,
    run: RunDir,
    split: Literal["train", "test"] = "test",
    *,
    choice: Choice = "newest",
    on_notice: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """``measure`` of the run's checkpoint chosen: test_loss, test_accuracy, class_accuracy, confusion, examples.

    On the test split they equal the last row of metrics.jsonl; for the training split the names stay the
    same. Raises UserError if there is no such readable checkpoint, or if it does not fit the recipe and the data.
    """
    classes, device = len(dataset.classes), precision.device()
    losses.build(recipe.loss, classes=classes)  # refuses a data set that the loss does not fit
    model = trained(recipe, run, dataset.name, dataset.input_shape, classes, on_notice, choice)
    with precision.activate(recipe.precision):
        result = measure(model, recipe, tensors.load(getattr(dataset, split), device), classes)
    return {"test_loss": result.pop("loss"), "test_accuracy": result.pop("accuracy")} | result


def trained(
    recipe: Recipe,
    run: RunDir,
    data: str,
    input_shape: tuple[int, ...],
    classes: int,
    on_notice: Callable[[str], None],
    choice: Choice = "newest",
) -> nn.Module:
    """The model of the run's checkpoint chosen, on its device, in training mode.

    Raises UserError if there is none, or if it does not fit the data set called ``data``.
    """
    state = checkpoint.load(run, on_notice, choice)
    if state is None:
        raise UserError(f"{run.path} has no checkpoint yet; train it first")
    outputs = 1 if recipe.loss.binary else classes
    with torch.random.fork_rng(devices=[]):  # the new weights are drawn only to be replaced
        model = models.build(recipe.model, input_shape=input_shape, outputs=outputs)
    precision.place(model, recipe.precision, precision.device())
    try:
        model.load_state_dict(state["model"])
    except Exception as error:  # other names, shapes or kinds of numbers
        raise UserError(
            f"the checkpoint in {run.checkpoints} does not fit data set {data} of shape "
            f"{input_shape} with {classes} classes; evaluate on the data that the run was trained on"
        ) from error
    return model
