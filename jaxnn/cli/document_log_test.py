"""``--log-style document``: the lines of the documents' own scripts, the same from both frameworks."""

import re
from pathlib import Path

import numpy as np
import pytest

from jaxnn import data, recipes
from jaxnn.cli import main
from jaxnn.cli.document_log import DocumentDisplay

# The forms that the documents' print statements have.
LINES = {
    "mnist-mlp": [r"tensor\(0\.\d{4}, grad_fn=<NllLossBackward0>\)"] * 2 + [r"Accuracy:  0\.\d{1,3}"],
    "lenet": [r"tensor\(0\.\d{4}, grad_fn=<MseLossBackward0>\)"] * 2 + [r"Accuracy:  0\.\d{1,3}"],
    "fashion-mlp-512": [r"Epoch 1", r"-{31}", r"loss: 2\.\d{6}  \[    0/ 1437\]", r"Test Error: "]
    + [r" Accuracy: \d+\.\d%, Avg loss: 2\.\d{6} ", ""] + [r"Epoch 2", r"-{31}", r"loss: .*", "Test Error: ", ".*", ""]
    + ["Done!"],
    "cifar-cnn": [r"\[1,   200\] loss: 2\.\d{3}", r"\[2,   200\] loss: \d\.\d{3}", "Finished Training"]
    + [r"GroundTruth:  (    \d ?){4}", r"Predicted: (    \d ?){4}"]
    + [r"Accuracy of the network on the 360 test images: \d+ %"] + [r"Accuracy of     \d : [ \d]\d+ %"] * 10,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "frameworks"),
    [
        ("mnist-mlp", ["jax"]),
        ("lenet", ["jax"]),
        pytest.param("fashion-mlp-512", ["jax", "torch"], marks=pytest.mark.torch),
        pytest.param("cifar-cnn", ["jax", "torch"], marks=pytest.mark.torch),
    ],
)
def test_lines_are_the_documents_and_the_same_in_both(
    name: str, frameworks: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", name, "--dataset", "digits", "--epochs", "2", "--log-style", "document"]
    arguments += ["--precision", "float64"] + (["--log-every", "200"] if name == "cifar-cnn" else [])
    shown = []
    for framework in frameworks:
        assert main([*arguments, "--framework", framework, "--out", str(tmp_path / framework)]) == 0
        shown.append(capsys.readouterr().out)
    assert len(set(shown)) == 1
    lines = shown[0].splitlines()
    assert len(lines) == len(LINES[name])
    for line, form in zip(lines, LINES[name], strict=True):
        assert re.fullmatch(form, line), (line, form)


@pytest.mark.parametrize("pauses", [[250], [100, 100, 50], [1, 99, 1, 149], [30] * 8 + [10]])
def test_every_hundredth_batch_is_printed_wherever_the_loop_pauses(
    pauses: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipes.get("fashion-mlp-512", dataset="digits").replace(batch_size=5)
    dataset = data.prepare(data.load("digits"), recipe.input)
    with DocumentDisplay(recipe, dataset, epochs=1, steps=250, examples=5, quiet_stdout=False) as display:
        losses, step = np.arange(250) / 100, 0
        for count in pauses:
            part = losses[step : step + count].tolist()
            step += count
            display.progress(epoch=1, step=step, steps_per_epoch=250, running_loss=None, accuracy=0.0, losses=part)
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("loss")]
    assert printed == [f"loss: {batch / 100:7f}  [{5 * batch:5d}/ 1437]" for batch in (0, 100, 200)]


def test_several_runs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "mnist-mlp", "--dataset", "digits", "--seeds", "2", "--log-style", "document"]) == 2
    assert "one run" in capsys.readouterr().err
