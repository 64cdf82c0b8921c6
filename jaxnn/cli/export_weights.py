"""Weights for PyTorch: a state_dict, and beside it the state of the training."""

import importlib.util
from typing import Any

from jaxnn import compilation_cache
from jaxnn.cli.export_programs import Export
from jaxnn.cli.import_ import optimizer_file
from jaxnn.files import require_file
from jaxnn.interop import weights as files


def weights(export: Export) -> dict[str, Any]:
    """Writes the state_dict to the file and the optimizer's to STEM.optimizer.pt; returns what is known of them."""
    compilation_cache.choose()
    from jaxnn.interop import export_run

    of = export.run, export.recipe, export.framework, export.notice, export.checkpoint
    if importlib.util.find_spec("torch") is None and export.file.suffix == ".safetensors":
        export.notice("PyTorch is not installed: the state of the training, a .pt file, is not written")
        arrays = export_run.weights_of(*of)
        files.write(export.file, arrays)
        return {"tensors": len(arrays)}
    files.require_torch(export.file)
    beside = optimizer_file(export.file)
    require_file(beside, overwrite=export.overwrite)
    arrays, training = export_run.from_run(*of)
    files.write_pickled(beside, training)
    files.write(export.file, arrays)
    return {"tensors": len(arrays), "optimizer": str(beside), "step": training["position"]["step"]}
