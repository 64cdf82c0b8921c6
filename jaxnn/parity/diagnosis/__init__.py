"""Why two implementations differ: hypotheses about known porting faults, tested on the numbers of a comparison."""

from jaxnn.parity.diagnosis.diagnose import diagnose
from jaxnn.parity.diagnosis.evidence import Evidence

__all__ = ["Evidence", "diagnose"]
