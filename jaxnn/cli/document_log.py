"""What training looks like in the documents: the lines that their scripts print, of whichever framework trains."""

from typing import Any, Literal

from jaxnn.cli.console import TrainingDisplay
from jaxnn.data import Dataset
from jaxnn.recipe import Recipe

_EVERY = 100  # batches, in the document of fashion-mlp-512

# What each document's script prints: the loss of every hundredth batch and the test error of each epoch; the running
# loss, and accuracies at the end; or the loss of each epoch's last batch.
Script = Literal["batches", "running", "last"]
_SCRIPTS: dict[str, Script] = {"fashion-mlp-512": "batches", "cifar-cnn": "running"}

_GRAD_FN = {"mse": "MseLoss", "bce": "BinaryCrossEntropy", "bce_with_logits": "BinaryCrossEntropyWithLogits"}
_CIFAR = {"airplane": "plane", "automobile": "car"}  # as the document calls them


class DocumentDisplay(TrainingDisplay):
    """The events of a single run as the document of its recipe prints them."""

    def __init__(self, recipe: Recipe, dataset: Dataset, **options: Any) -> None:
        super().__init__(None, **options)
        self._recipe, self._dataset = recipe, dataset
        self._script: Script = _SCRIPTS.get(recipe.name, "last")
        self._last_loss = 0.0

    def say_steps(
        self,
        *,
        epoch: int,
        step: int,
        steps_per_epoch: int,
        running_loss: float | None,
        accuracy: float,
        losses: list[float],
    ) -> None:
        del steps_per_epoch, accuracy
        before = step - len(losses)
        if self._script == "running" and running_loss is not None:
            self.line(f"[{epoch}, {step:5d}] loss: {running_loss:.3f}")
        if self._script == "batches":
            if before == 0:
                self.line(f"Epoch {epoch}\n-------------------------------")
            size = len(self._dataset.train)
            for batch in range(-before % _EVERY, len(losses), _EVERY):
                seen = (before + batch) * (self._recipe.batch_size or size)
                self.line(f"loss: {losses[batch]:>7f}  [{seen:>5d}/{size:>5d}]")
        self._last_loss = losses[-1] if losses else self._last_loss

    def say_epoch(self, rows: list[dict[str, Any]]) -> None:
        [row] = rows
        if self._script == "batches":
            self.line(
                f"Test Error: \n Accuracy: {100 * row['test_accuracy']:>0.1f}%, Avg loss: {row['test_loss']:>8f} \n"
            )
        elif self._script == "last":
            name = _GRAD_FN.get(self._recipe.loss.name, "NllLoss")
            self.line(f"tensor({self._last_loss:.4f}, grad_fn=<{name}Backward0>)")

    def end(self, evaluated: dict[str, Any]) -> None:
        """After training; ``evaluated``: what `jaxnn evaluate` knows of the test split."""
        if self._script == "batches":
            self.line("Done!")
        elif self._script == "last":
            self.line(f"Accuracy:  {evaluated['test_accuracy']:.3f}".rstrip("0"))
        else:
            names = [_CIFAR.get(name, name) for name in self._dataset.classes]
            found = evaluated["first_predictions"]
            true = self._dataset.test.labels[: len(found)]
            self.line("Finished Training")
            self.line(f"GroundTruth:  {' '.join(f'{names[label]:>5}' for label in true)}")
            self.line(f"Predicted: {' '.join(f'{names[label]:>5}' for label in found)}")
            counts = [(row[label], sum(row)) for label, row in enumerate(evaluated["confusion"])]
            hits, examples = (sum(column) for column in zip(*counts, strict=True))
            self.line(f"Accuracy of the network on the {examples} test images: {_percent(hits, examples)} %")
            for name, (right, total) in zip(names, counts, strict=True):
                if total:
                    self.line(f"Accuracy of {name:>5} : {_percent(right, total):2d} %")


def _percent(part: int, whole: int) -> int:
    """Cut off, as %d does it."""
    return int(100 * part / whole)
