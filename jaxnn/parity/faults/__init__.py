"""Proof that parity can fail: known porting faults, planted one at a time in right ports, and what it says of each."""

from jaxnn.parity.faults.catalogue import FAULTS as FAULTS
from jaxnn.parity.faults.fault import Fault as Fault
from jaxnn.parity.faults.fault import Pair as Pair
from jaxnn.parity.faults.matrix import controls as controls
from jaxnn.parity.faults.matrix import matrix as matrix
from jaxnn.parity.faults.matrix import run as run
