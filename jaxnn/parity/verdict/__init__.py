"""Two recordings judged: each tensor's error beside a tolerance that was stated before."""

from jaxnn.parity.verdict.verdict import compare_dumps as compare_dumps
from jaxnn.parity.verdict.verdict import verdict as verdict
