"""The chain rule by hand, from the loss back to the weights, against automatic derivatives."""

import torch
from torch import Tensor

from jaxnn import course


def sigmoid(z: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-z))


def binary_cross_entropy(sigma: Tensor, y: Tensor) -> Tensor:
    return -(y * torch.log(sigma) + (1 - y) * torch.log(1 - sigma)).sum()


def run(*, seed: int) -> course.Lesson:
    torch.manual_seed(seed)
    X, w, w01, w12 = (torch.rand(shape).double() - 0.5 for shape in ((4, 3), (3,), (3, 2), (2,)))
    y = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    for weight in (w, w01, w12):
        weight.requires_grad_()

    # Forward, one layer and two: autograd notes what it will need for the way back.
    z = X @ w
    sigma = sigmoid(z)
    loss = binary_cross_entropy(sigma, y)
    z1 = X @ w01
    sigma1 = sigmoid(z1)
    z2 = sigma1 @ w12
    sigma2 = sigmoid(z2)
    loss2 = binary_cross_entropy(sigma2, y)
    loss.backward()
    loss2.backward()

    with torch.no_grad():  # by hand
        # One layer: what the forward pass has computed is all that the derivatives need.
        dL_dsigma = (sigma - y) / (sigma * (1 - sigma))
        dsigma_dz = sigma * (1 - sigma)
        dz_dw = X
        dL_dw = dz_dw.T @ (dL_dsigma * dsigma_dz)
        short = X.T @ (sigma - y)  # the product of the first two is sigma - y

        # Two layers: the output layer as before, with sigma1 as its input; then on through it to the first layer.
        dL_dz2 = sigma2 - y
        dL_dw12 = sigma1.T @ dL_dz2
        dL_dsigma1 = torch.outer(dL_dz2, w12)
        dL_dz1 = dL_dsigma1 * sigma1 * (1 - sigma1)
        dL_dw01 = X.T @ dL_dz1

        numbers = {"z": z, "sigma": sigma, "y": y, "loss": loss, "dL_dsigma": dL_dsigma, "dsigma_dz": dsigma_dz}
        numbers |= {"dL_dw": dL_dw, "short": short, "automatic_w": w.grad}
        numbers |= {"z1": z1, "sigma1": sigma1, "z2": z2, "sigma2": sigma2, "loss2": loss2, "dL_dz2": dL_dz2}
        numbers |= {"dL_dw12": dL_dw12, "dL_dsigma1": dL_dsigma1, "dL_dz1": dL_dz1, "dL_dw01": dL_dw01}
        numbers |= {"automatic01": w01.grad, "automatic12": w12.grad}
        return course.lesson(numbers, {"automatic": "loss.backward()"})
