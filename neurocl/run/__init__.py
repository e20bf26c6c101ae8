"""Runs: the loop, metrics, checkpoints, results, plots, the model shelf, and many runs side by side.

:func:`run` lets a learner go through a stream in memory; :func:`execute` runs a :class:`Job`, which is made of names,
and fills a folder that a killed run goes on from; :func:`run_jobs` runs several at once. Names are loaded when first
used, so that listing the shelf does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurocl.run.compare import Comparison as Comparison
    from neurocl.run.compare import collect as collect
    from neurocl.run.compare import plan as plan
    from neurocl.run.evaluation import evaluate as evaluate
    from neurocl.run.job import Job as Job
    from neurocl.run.job import execute as execute
    from neurocl.run.loop import History as History
    from neurocl.run.loop import Watcher as Watcher
    from neurocl.run.loop import run as run
    from neurocl.run.results import results_of as results_of
    from neurocl.run.shelf import Model as Model
    from neurocl.run.shelf import known_experiments as known_experiments
    from neurocl.run.shelf import known_models as known_models
    from neurocl.run.shelf import load_model as load_model
    from neurocl.run.workers import Outcome as Outcome
    from neurocl.run.workers import run_jobs as run_jobs

WHERE = {
    "Comparison": "compare",
    "History": "loop",
    "Job": "job",
    "Model": "shelf",
    "Outcome": "workers",
    "Watcher": "loop",
    "collect": "compare",
    "evaluate": "evaluation",
    "execute": "job",
    "known_experiments": "shelf",
    "known_models": "shelf",
    "load_model": "shelf",
    "plan": "compare",
    "results_of": "results",
    "run": "loop",
    "run_jobs": "workers",
}
__all__ = [
    "Comparison",
    "History",
    "Job",
    "Model",
    "Outcome",
    "Watcher",
    "collect",
    "evaluate",
    "execute",
    "known_experiments",
    "known_models",
    "load_model",
    "plan",
    "results_of",
    "run",
    "run_jobs",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name not in WHERE:
        raise AttributeError(f"module 'neurocl.run' has no attribute {name!r}; public: {', '.join(__all__)}")
    return getattr(import_module(f"neurocl.run.{WHERE[name]}"), name)
