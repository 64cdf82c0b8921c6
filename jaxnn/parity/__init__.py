"""Proof that a JAX port computes what its PyTorch original computes, or the first place where it does not, and why.

``compare`` two models in one process; or record them where each runs (``torchref.capture``, then ``capture``) and
compare the dumps. Imported when first used: comparing dumps needs neither framework.
"""

import importlib
from typing import Any

_HOMES = {
    "compare": "comparison",
    "capture": "comparison",
    "compare_dumps": "verdict",
    "Rule": "port.pairing",
    "PairingError": "port.pairing",
    "Report": "report",
    "ParityError": "report",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"jaxnn.parity.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jaxnn.parity' has no attribute {name!r}")
