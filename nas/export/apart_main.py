"""Runs files of networks where nas cannot be imported and nothing is unpickled: THREADS IMAGES LOGITS FILE...

IMAGES holds the tensor `images` of shape (N, C, H, W), safetensors; LOGITS gets a tensor (N, classes) for each of
FILE, by its path. Not a module of nas: `nas.export.apart` starts it in a process of its own.
"""

import sys


def no_pickle(event: str, _details: object) -> None:
    """Raises where an unpickler looks up what to call."""
    if event == "pickle.find_class":
        raise RuntimeError("the file holds a pickle")


sys.addaudithook(no_pickle)
sys.modules["nas"] = None   # type: ignore[assignment]      # importing it fails

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from torch import Tensor  # noqa: E402


def pt2(path: str, batches: list[Tensor]) -> list[Tensor]:
    """Of a file of torch.export."""
    network = torch.export.load(path).module()
    return [network(batch) for batch in batches]


def onnx(path: str, batches: list[Tensor]) -> list[Tensor]:
    """Of an ONNX file, by onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(session.run(None, {"images": batch.numpy()})[0]) for batch in batches]


def main(threads: str, images: str, logits: str, *files: str) -> None:
    """A batch of one image, then one of all others: the size of a batch must not matter."""
    torch.set_num_threads(int(threads))
    x = load_file(images)["images"]
    batches = [x[:1].contiguous(), x[1:].contiguous()] if len(x) > 1 else [x]
    with torch.inference_mode():
        found = {path: torch.cat((pt2 if path.endswith(".pt2") else onnx)(path, batches)) for path in files}
    save_file(found, logits)


if __name__ == "__main__":
    main(*sys.argv[1:])
