"""torch.optim's optimizers for optax and nnx.Optimizer; defaults, option names and results are torch's.

``learning_rate`` is a number or a schedule from the count of earlier steps to a value. The state is
``jaxnn.optim.State``; float32 parameters without x64 take their bias corrections in float32.
"""

import optax

from jaxnn.optim import definitions
from jaxnn.optim.rule import transformation

Transformation = optax.GradientTransformationExtraArgs


def sgd(
    learning_rate: optax.ScalarOrSchedule,
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> Transformation:
    """Stochastic gradient descent (torch.optim.SGD): unlike optax.sgd, ``dampening`` spares the first step."""
    definition = definitions.sgd(
        momentum=momentum, dampening=dampening, nesterov=nesterov, weight_decay=weight_decay, maximize=maximize
    )
    return transformation(definition, learning_rate)


def adam(
    learning_rate: optax.ScalarOrSchedule = 1e-3,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    maximize: bool = False,
) -> Transformation:
    """Adam (torch.optim.Adam): ``weight_decay`` is added to the gradient."""
    definition = definitions.adam(betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize)
    return transformation(definition, learning_rate)


def adamw(
    learning_rate: optax.ScalarOrSchedule = 1e-3,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    amsgrad: bool = False,
    maximize: bool = False,
) -> Transformation:
    """Adam with decoupled decay (torch.optim.AdamW): the default decay is 1e-2, in optax 1e-4."""
    definition = definitions.adamw(betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize)
    return transformation(definition, learning_rate)


def nadam(
    learning_rate: optax.ScalarOrSchedule = 2e-3,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float = 4e-3,
    maximize: bool = False,
) -> Transformation:
    """Adam with Nesterov momentum (torch.optim.NAdam), whose momentum warms up; optax.nadam's does not."""
    definition = definitions.nadam(
        betas=betas, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay, maximize=maximize
    )
    return transformation(definition, learning_rate)


def rmsprop(
    learning_rate: optax.ScalarOrSchedule = 1e-2,
    *,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    maximize: bool = False,
) -> Transformation:
    """RMSprop (torch.optim.RMSprop): eps is outside the root, the learning rate outside the momentum."""
    definition = definitions.rmsprop(
        alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered, maximize=maximize
    )
    return transformation(definition, learning_rate)


def adagrad(
    learning_rate: optax.ScalarOrSchedule = 1e-2,
    *,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    initial_accumulator_value: float = 0.0,
    eps: float = 1e-10,
    maximize: bool = False,
) -> Transformation:
    """Adagrad (torch.optim.Adagrad): the sum starts at 0, in optax at 0.1."""
    definition = definitions.adagrad(
        lr_decay=lr_decay,
        weight_decay=weight_decay,
        initial_accumulator_value=initial_accumulator_value,
        eps=eps,
        maximize=maximize,
    )
    return transformation(definition, learning_rate)
