"""The largest memory of a run: of the GPU where one is used, otherwise of the process."""

import re
import sys
from pathlib import Path

import torch

PROCESS = Path("/proc/self")  # Linux


def reset_peak(device: str) -> None:
    """Count from now on, as far as the system allows it, so that an earlier run in this process does not show."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return
    try:
        (PROCESS / "clear_refs").write_text("5")  # sets the high-water mark back to what is resident now
    except OSError:
        return


def peak_bytes(device: str) -> int | None:
    """Largest memory since :func:`reset_peak` in bytes; ``None`` where the system does not tell."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    try:
        found = re.search(r"VmHWM:\s*(\d+) kB", (PROCESS / "status").read_text())
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
