"""The shelf: model and experiment files, found by name or by path and always loaded by path.

A shipped model, a copy of it and a model of your own go through the same door. Nothing here imports torch until a
model is loaded, so that listing and copying are quick.
"""

import ast
import hashlib
import importlib.util
import os
import sys
import tokenize
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

PACKAGE = Path(__file__).parents[1]
FILE_LIKE = (".py", "/", "\\")


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model file, loaded.

    Attributes:
        name: The file's name without ``.py``.
        path: Where it lies.
        digest: SHA-256 of its text.
        coding: The coding asked for with the name (``name:rate``), ``None`` if none was.
        config: Its ``Config`` dataclass.
        build: Its ``build(config, task_shape, seed, device="cpu")``.
        summary: First line of its docstring.
    """

    name: str
    path: Path
    digest: str
    coding: str | None
    config: type
    build: Callable[..., Any]
    summary: str

    def configured(self, settings: Mapping[str, str], coding: str | None = None) -> Any:
        """Return a ``Config`` with ``settings`` (texts) read as its fields demand.

        Raises:
            BadInput: If a setting is unknown or no value of its field's type, or the codings contradict each other.
        """
        from neurocl.primitives.checks import BadInput
        from neurocl.run.settings import typed_settings

        values = typed_settings(self.config, settings, owner=self.name)
        coding = coding or self.coding
        if coding and values.setdefault("coding", coding) != coding:
            raise BadInput(f"{self.name}:{coding} and --set coding={values['coding']} contradict each other; give one")
        return self.config(**values)


def shelf(kind: str) -> Path:
    """Folder of shipped ``kind`` (models, experiments): inside an installed package, otherwise beside it."""
    inside = PACKAGE / "_shelf" / kind
    return inside if inside.is_dir() else PACKAGE.parent / kind


def known_models() -> dict[str, Path]:
    """Shipped models by name."""
    return {path.stem: path for path in sorted(shelf("models").glob("[a-z]*.py"))}


def known_experiments() -> dict[str, Path]:
    """Shipped experiments by name."""
    return {path.stem: path for path in sorted(shelf("experiments").glob("[a-z]*.py"))}


def split_coding(text: str) -> tuple[str, str | None]:
    """Split ``name:rate`` into name and coding; without a suffix the coding is ``None``."""
    name, colon, coding = text.rpartition(":")
    if not colon or any(mark in coding for mark in FILE_LIKE):  # a path such as C:\\mine.py
        return text, None
    from neurocl.primitives.checks import check_name
    from neurocl.primitives.tasks import CODINGS

    return name, check_name("coding", coding, CODINGS)


def find(name: str, known: Mapping[str, Path], what: str = "model") -> Path:
    """Return the file of ``name``: a path ending in ``.py`` first, then the shelf.

    Raises:
        BadInput: If there is no such file.
        UnknownName: If there is no such name; close matches are named.
    """
    if name.endswith(".py"):
        path = Path(name).expanduser()
        if path.is_file():
            return path
        from neurocl.primitives.checks import BadInput

        raise BadInput(f"no {what} file {name}; give the path of a .py file, or one of: {', '.join(known)}")
    if name not in known:
        from neurocl.primitives.checks import check_name

        check_name(what, name, known)
    return known[name]


def summary_of(path: Path) -> str:
    """First line of a file's docstring, read without running the file."""
    try:
        text = ast.get_docstring(ast.parse(text_of(path))) or ""
    except (OSError, SyntaxError, ValueError):
        return "(cannot be read)"
    return text.strip().partition("\n")[0]


def parsed(path: Path) -> tuple[str, ast.Module]:
    """Return a file's text and its syntax tree, without running the file.

    Raises:
        BadInput: If it cannot be read, or is no Python.
    """
    try:
        text = text_of(path)
        return text, ast.parse(text)
    except SyntaxError as error:
        refuse(path, mistake_in(error), error)
    except OSError as error:
        refuse(path, error.strerror or str(error), error)
    except ValueError as error:
        refuse(path, str(error), error)


def text_of(path: Path) -> str:
    """Text of a Python file, in the encoding that it states; UTF-8 without a statement."""
    with tokenize.open(path) as file:
        return file.read()


def mistake_in(error: SyntaxError) -> str:
    """Where a file is no Python, and why."""
    return f"line {error.lineno}: {error.msg}" if error.lineno else str(error.msg)


def load_model(text: str) -> Model:
    """Load a model by name or path, either with a coding: ``ewc``, ``ewc:rate``, ``mine.py``, ``mine.py:rate``.

    Raises:
        BadInput: If the file cannot be loaded, or has no ``Config`` or ``build`` as a model needs them.
        UnknownName: If there is no such model; close matches are named.
    """
    name, coding = split_coding(text)
    path = find(name, known_models())
    module, digest = load_file(path)
    config, build = getattr(module, "Config", None), getattr(module, "build", None)
    if not (isinstance(config, type) and is_dataclass(config)) or not callable(build):
        refuse(path, "a model file needs a dataclass Config and a function build(config, task_shape, seed, device)")
    if "coding" not in {field.name for field in fields(config)}:
        refuse(path, 'its Config needs a field coding, such as coding: Coding = "spiking"')
    bare = [f.name for f in fields(config) if f.init and f.default is MISSING and f.default_factory is MISSING]
    if bare:
        refuse(
            path, f"every field of its Config needs a default, as --set changes single ones; {', '.join(bare)} has none"
        )
    return Model(
        name=path.stem,
        path=path,
        digest=digest,
        coding=coding,
        config=config,
        build=build,
        summary=(module.__doc__ or "").strip().partition("\n")[0],
    )


def load_file(path: Path) -> tuple[ModuleType, str]:
    """Run a Python file as a module of its own and return it with the digest of its text."""
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        refuse(path, error.strerror or str(error))
    name = f"neurocl_shelf_{path.stem}_{digest[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        refuse(path, "it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        refuse(path, mistake_in(error), error)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        refuse(path, f"{type(error).__name__} in line {last_line(error, path)}: {error}", error)
    return module, digest


def last_line(error: BaseException, path: Path) -> int:
    """Line of the file at ``path`` that an error came from."""
    lines, step = [0], error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == os.path.abspath(path):  # as the import system names it
            lines.append(step.tb_lineno)
        step = step.tb_next
    return lines[-1]


def refuse(path: Path, reason: str, error: BaseException | None = None) -> NoReturn:
    """Say on one line why a file cannot be used."""
    from neurocl.primitives.checks import BadInput

    raise BadInput(f"cannot use {path}: {reason}") from error
