"""From a stored trial to a folder that can be shipped; the way back, from a folder to a network, is `nas.exported`.

A folder holds `model.safetensors` (the weights), `architecture.yaml` (the network, for `nas train` and `nas.load`),
`model.py` (the same network as code that needs only torch), `export.json` (all facts: classes, normalisation,
accuracy, costs, data, training), `example.py` (a loader to copy from), `card.md` (the same facts to read, and how to
load it), where they can be written `model.pt2` and `model.onnx` (the network for other runtimes), and `checks.json`
(what was checked, and how it came out). Nothing here pickles, unpickles, trains or writes to the database.
"""

from nas.export.checks import left_out
from nas.export.choice import Which, choose
from nas.export.formats import formats_of
from nas.export.writing import export
from nas.exported import Network, load

__all__ = ["Network", "Which", "choose", "export", "formats_of", "left_out", "load"]
