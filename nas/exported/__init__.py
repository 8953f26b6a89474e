"""An exported folder, read: its network and facts, its images, what it says of others, a training that begins with it.

What is in a folder, and how one is written, is told in `nas.export`. Nothing of a folder is executed or unpickled here,
and nothing is written.
"""

from nas.exported.loading import Network, load
from nas.exported.manifest import Manifest, read_manifest

__all__ = ["Manifest", "Network", "load", "read_manifest"]
