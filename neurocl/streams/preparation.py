"""What every builder of streams does first: order the classes, choose the samples, hold some out.

These options are common to all builders (and to ``neurocl.streams.open``):

- ``class_order``: ``"natural"`` (default: sorted labels), ``"seeded"`` (shuffled by the stream's seed), or all classes
  in the order wanted;
- ``normalise``: see :mod:`neurocl.streams.normalisation`;
- ``train_per_class``, ``test_per_class``: keep only so many samples of each class (default: all);
- ``subset``: which ones: ``"first"`` (default) or ``"seeded"``;
- ``validation``: share of each class's training samples to hold out, chosen by the seed (default 0). Hyperparameters
  belong on these, never on test samples;
- ``judged_on``: ``"test"`` (default), or ``"validation"``: held-out training samples take the place of the test
  samples, of which the type and range of their values alone is used; ``test_per_class`` then limits nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import numpy as np

from neurocl.primitives.checks import BadInput, check_count, check_name, check_number
from neurocl.primitives.seeding import numpy_generator
from neurocl.streams.labelled_data import LabelledData
from neurocl.streams.normalisation import Scale, fit_scale
from neurocl.streams.portion import Rows

CLASS_ORDERS = ("natural", "seeded")
SUBSETS = ("first", "seeded")
JUDGES = ("test", "validation")


class Preparation(TypedDict, total=False):
    """Options common to all builders; the module says what each does."""

    class_order: str | Sequence[str | int]
    normalise: str | tuple[float, float]
    train_per_class: int | None
    test_per_class: int | None
    subset: str
    validation: float
    judged_on: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """Labelled data with their classes ordered and their samples chosen.

    Attributes:
        data: The samples.
        order: Class indices in the order of the stream.
        train: Indices of training samples, ascending.
        validation: Indices of held-out training samples, ascending.
        test: Indices of samples to be judged on, ascending.
        normalise: As the user gave it.
    """

    data: LabelledData
    order: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    normalise: Any

    def of_classes(self, classes: np.ndarray, label_of_class: np.ndarray) -> tuple[Rows, Rows, Rows]:
        """Training, validation and test rows of some classes, labelled by ``label_of_class[class]``."""
        parts = (
            (self.train, self.data.train_classes),
            (self.validation, self.data.train_classes),
            (self.test, self.data.test_classes),
        )
        chosen = [(ids[np.isin(names[ids], classes)], names) for ids, names in parts]
        train, validation, test = (Rows(ids=ids, labels=label_of_class[names[ids]]) for ids, names in chosen)
        return train, validation, test

    def scale(self, first_task: np.ndarray) -> Scale:
        """Scale whose statistics come from these training samples, those of the first task."""
        if not len(first_task):
            raise BadInput("task 0 has no training samples; give every task some, or leave its classes out")
        return fit_scale(self.normalise, self.data, first_task)


def prepare(
    data: LabelledData,
    *,
    seed: int,
    class_order: Any = "natural",
    normalise: Any = "unit",
    train_per_class: int | None = None,
    test_per_class: int | None = None,
    subset: str = "first",
    validation: float = 0.0,
    judged_on: str = "test",
) -> Prepared:
    """Order classes and choose samples; the module describes the options.

    Raises:
        BadInput: An option outside its range, or a class left without training or test samples.
    """
    check_count("seed", seed, at_least=0)
    subset = check_name("subset", subset, SUBSETS)
    share = check_number("validation", validation, at_least=0.0, below=1.0)
    train = _per_class(data.train_classes, "train_per_class", train_per_class, subset, seed)
    test = _per_class(data.test_classes, "test_per_class", test_per_class, subset, seed)
    held_out = _hold_out(data.train_classes, train, share, seed)
    if check_name("judge", judged_on, JUDGES) == "validation":
        if share == 0:
            raise BadInput(
                "judged_on='validation' needs samples to judge on: hold a share of each class's training samples out, "
                "such as validation=0.1"
            )
        data = replace(data, test=data.train, test_classes=data.train_classes)
        test = held_out
    untested = np.setdiff1d(np.arange(len(data.class_names)), data.test_classes)
    if len(untested):
        raise BadInput(
            f"class {data.class_names[untested[0]]!r} of {data.name} has no test samples: "
            "add some, or drop its training samples"
        )
    return Prepared(
        data=data,
        order=_class_order(data, class_order, seed),
        train=np.setdiff1d(train, held_out, assume_unique=True),
        validation=held_out,
        test=test,
        normalise=normalise,
    )


def _class_order(data: LabelledData, class_order: Any, seed: int) -> np.ndarray:
    """Class indices in the order asked for."""
    count = len(data.class_names)
    if isinstance(class_order, str):
        way = check_name("class order", class_order, CLASS_ORDERS)
        return np.arange(count) if way == "natural" else numpy_generator(seed, "class order").permutation(count)
    try:
        names = [str(name) for name in class_order]
    except TypeError:
        raise BadInput(f"class_order must be 'natural', 'seeded' or a list of classes; got {class_order!r}") from None
    if sorted(names) != sorted(data.class_names):
        raise BadInput(
            f"class_order must name each of the {count} classes of {data.name} once "
            f"({', '.join(data.class_names[:20])}); "
            f"got {', '.join(names[:40]) or 'nothing'}"
        )
    return np.array([data.class_names.index(name) for name in names], np.int64)


def _per_class(classes: np.ndarray, name: str, limit: int | None, subset: str, seed: int) -> np.ndarray:
    """Indices of at most ``limit`` samples of each class, ascending."""
    if limit is None:
        return np.arange(len(classes))
    check_count(name, limit)
    drawn = np.arange(len(classes)) if subset == "first" else numpy_generator(seed, name).permutation(len(classes))
    kept = [drawn[classes[drawn] == label][:limit] for label in np.unique(classes)]
    return np.sort(np.concatenate(kept))


def _hold_out(classes: np.ndarray, train: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Indices of ``share`` of each class's samples, rounded, at least one and never all; ascending."""
    if share == 0:
        return np.zeros(0, np.int64)
    drawn = numpy_generator(seed, "validation").permutation(train)
    held = []
    for label in np.unique(classes[train]):
        mine = drawn[classes[drawn] == label]
        if len(mine) < 2:
            raise BadInput(
                f"validation={share:g} needs at least two training samples of every class; one class has {len(mine)}"
            )
        held.append(mine[: min(max(1, round(share * len(mine))), len(mine) - 1)])
    return np.sort(np.concatenate(held))
