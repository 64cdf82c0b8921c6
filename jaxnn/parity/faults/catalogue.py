"""All planted faults."""

from jaxnn.parity.faults import batchnorm, cnn, dropout, lenet, losses, mlp, optimizers, pooling
from jaxnn.parity.faults.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *mlp.FAULTS,
    *cnn.FAULTS,
    *pooling.FAULTS,
    *batchnorm.FAULTS,
    *dropout.FAULTS,
    *lenet.FAULTS,
    *losses.FAULTS,
    *optimizers.FAULTS,
)
