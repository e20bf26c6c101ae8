"""Does ``neurocl show traces.h5`` draw what can be drawn, say what cannot, and keep names whole?"""

import os

import pytest
import torch
from torch import nn

from neurocl import record
from neurocl.cli import traces as shown
from neurocl.cli.entry import exit_code
from neurocl.neurons import LIF
from neurocl.record.overview import Row

pytest.importorskip("matplotlib")


@pytest.fixture
def show(tmp_path, monkeypatch, capsys):
    """Record a network of such names, show the file, and return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(names, *words, value=4.0, **options):
        net = nn.Module()
        for name in names:
            net.add_module(name, LIF())
        with record.Recorder("t.h5", net, **options):
            for layer in net.children():
                layer(value * torch.ones(5, 2, 4))
        code = exit_code(["show", "t.h5", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_a_figure_that_cannot_be_drawn_is_one_line_and_the_others_are_drawn(show, tmp_path):
    code, out, _ = show("a", variables=["spikes", "voltage"], value=float("nan"))
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("not drawn: ")]
    assert line.startswith("not drawn: voltage_a: ")
    assert "NaN" in line
    assert (tmp_path / "t_plots" / "raster_a.png").is_file()


def test_where_nothing_can_be_drawn_the_exit_code_says_so(show):
    code, out, err = show("a", variables=["voltage"], value=float("nan"))
    assert code == 2
    assert "not drawn: voltage_a: " in out
    assert "none of the 1 figures of t.h5 can be drawn" in err


def test_it_says_which_populations_were_drawn_and_draws_those_named(show, tmp_path):
    code, out, _ = show("abcdef", variables=["voltage"])
    assert code == 0
    assert "drawn: c, d, e, f, of 6 populations; others with --population NAME" in out
    assert exit_code(["show", "t.h5", "--population", "a"]) == 0
    assert {path.name for path in (tmp_path / "t_plots").iterdir()} == {f"voltage_{name}.png" for name in "acdef"}
    assert exit_code(["show", "t.h5", "--population", "g"]) == 2
    assert exit_code(["show", "finetune", "--population", "a"]) == 2


def test_a_name_longer_than_a_files_is_whole_in_the_table_and_cut_in_the_file(show, tmp_path):
    names = ["h" * 219 + last for last in "ab"]
    code, out, _ = show(names, variables=["voltage"])
    assert code == 0
    for name in names:
        assert any(line.startswith(name) for line in out.splitlines())
    files = os.listdir(tmp_path / "t_plots")
    assert len(files) == 2
    assert max(map(len, files)) < 210


def test_figures_have_files_of_their_own_names_that_every_system_takes():
    assert shown.file_name("raster_layers.0") == "raster_layers.0.png"
    assert len(shown.file_name("é" * 300).encode()) < 210
    assert shown.file_name("a:b") != shown.file_name("a_b") == "a_b.png"


def test_a_narrow_terminal_folds_names_and_loses_none_of_their_letters():
    from rich.console import Console

    name = "".join(chr(ord("a") + place % 26) for place in range(100))
    row = Row(name=name, neurons=40, stored={"spikes": "raster"}, samples=9, rate=1.0, silent=0.5, variation=0.1)
    console = Console(width=60, force_terminal=True, color_system=None, soft_wrap=True)
    with console.capture() as captured:
        shown.print_populations(console, [row])
    text = captured.get()
    measured = text[: text.index("recorded")]
    letters = [line.split()[0] for line in measured.splitlines()[2:] if line.split()]
    assert "".join(letters) == name
    assert max(map(len, text.splitlines())) <= 60
