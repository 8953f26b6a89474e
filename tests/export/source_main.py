"""Networks that were written to disk, as a user without nas loads them: FOLDER, in it one folder a network.

Each holds model.py, model.safetensors and given.safetensors: images, and the logits to expect. Prints, as JSON, what is
wrong by folder: nothing, if all is well.
"""

import importlib.util
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file


def wrong(folder: Path) -> str:
    """What is, in words."""
    spec = importlib.util.spec_from_file_location("model", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.build().eval()
    network.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    given = load_file(folder / "given.safetensors")
    with torch.no_grad():
        logits = network(given["images"])
    return "" if torch.equal(logits, given["logits"]) else f"{(logits - given['logits']).abs().max():g} apart"


if __name__ == "__main__":
    torch.set_num_threads(1)
    assert importlib.util.find_spec("nas") is None
    folders = sorted(Path(sys.argv[1]).iterdir())
    found = {folder.name: wrong(folder) for folder in folders}
    assert "nas" not in sys.modules
    print(json.dumps({"networks": len(found), "wrong": {name: what for name, what in found.items() if what}}))
