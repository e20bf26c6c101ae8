"""What a run ran on: versions, hardware, and the commit of the code. All of it goes into ``config.json``."""

import os
import platform
import re
import shutil
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from neurocl.primitives.checks import BadInput

PACKAGE = Path(__file__).parents[1]

# glibc gives large freed blocks back to the kernel and asks for them again at the next time step, page by page; kept,
# they save a network of 800 neurons a third of its time. Other C libraries do not look at these.
ALLOCATOR = {
    "MALLOC_TRIM_THRESHOLD_": str(2**40),  # never trim the heap
    "MALLOC_MMAP_THRESHOLD_": str(2**25),  # the most that glibc accepts: smaller blocks come from the heap
}


def resolve_device(device: str) -> str:
    """Return the device meant by ``device``: ``"auto"`` is the GPU where there is one, otherwise the CPU.

    Raises:
        BadInput: If torch does not know the device or cannot use it here.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise BadInput(f"--device must be auto, cpu or cuda (or cuda:0 and so on); got {device!r}") from error
    kind, number = asked.type, asked.index or 0
    if kind not in {"cpu", "cuda"} or (kind == "cpu" and number > 0):
        raise BadInput(f"--device must be auto, cpu or cuda (or cuda:0 and so on); got {device!r}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise BadInput(f"--device {device}: torch {torch.__version__} sees no CUDA device here; use --device cpu")
    if kind == "cuda" and number >= torch.cuda.device_count():
        raise BadInput(
            f"--device {device}: there is no such GPU here, their numbers end at {torch.cuda.device_count() - 1}"
        )
    return device


def usable_cores() -> int:
    """Number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    return {
        "neurocl": version("neurocl"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "system": platform.platform(),
    }


def hardware(device: str) -> dict[str, Any]:
    """Processor, cores, threads in use, memory, and the GPU where the run uses one."""
    return {
        "device": device,
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "memory_bytes": memory_bytes(),
        "gpu": torch.cuda.get_device_name(device) if device.startswith("cuda") else None,
    }


@cache
def cpu_model() -> str:
    """Name of the processor as the system gives it."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def memory_bytes() -> int | None:
    """Size of the main memory, ``None`` where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


@cache
def git_commit() -> str | None:
    """Commit of the checkout the package runs from, with ``+changes`` if files differ; ``None`` outside a checkout."""
    git = shutil.which("git")
    if git is None:
        return None

    def ask(*words: str) -> str | None:
        command = [git, "-C", str(PACKAGE.parent), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        return done.stdout.strip() if done.returncode == 0 else None

    # an installed package may lie inside somebody else's repository
    if ask("ls-files", "--error-unmatch", f"{PACKAGE.name}/__init__.py") is None:
        return None
    commit = ask("rev-parse", "HEAD")
    changed = ask("status", "--porcelain", "--untracked-files=no", "--", PACKAGE.name, "models")
    return f"{commit}+changes" if commit and changed else commit
