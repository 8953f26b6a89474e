"""`example.py` of every exported folder: the shortest honest way to use the network without this package."""

EXAMPLE = '''\
"""Load the network of this folder and name what is on images. Needs torch, safetensors and the files beside it."""

import json
from pathlib import Path

import torch
from model import build
from safetensors.torch import load_file

FOLDER = Path(__file__).resolve().parent
FACTS = json.loads((FOLDER / "export.json").read_text(encoding="utf-8"))


def load():
    """The network in eval mode: normalised images (N, C, H, W) to logits (N, classes)."""
    network = build()
    network.load_state_dict(load_file(FOLDER / "model.safetensors"))
    return network.to(memory_format=torch.channels_last).eval()


def normalise(images):
    """uint8 images (N, C, H, W) as the network was trained on them."""
    mean, std = (torch.tensor(FACTS["normalisation"][k], dtype=torch.double).view(-1, 1, 1) for k in ("mean", "std"))
    scaled = images.float() * (1 / (255 * std)).float() + (-mean / std).float()
    return scaled.contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def predict(network, images):
    """The name of the class of each of the uint8 images (N, C, H, W)."""
    return [FACTS["classes"][index] for index in network(normalise(images)).argmax(1).tolist()]


if __name__ == "__main__":
    channels, side = FACTS["input"]["channels"], FACTS["input"]["resolution"]
    print(predict(load(), torch.randint(0, 256, (4, channels, side, side), dtype=torch.uint8)))
'''
