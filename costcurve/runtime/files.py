"""Files that survive a power loss."""

import os
from pathlib import Path


def flush_folder(folder: Path) -> None:
    """Write the names in a folder to the disk. A file that was made or renamed there keeps its name from now on."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
