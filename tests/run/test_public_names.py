"""Do the public names of the room load, and does the list agree with where they are?"""

from neurocl import run


def test_every_public_name_loads_and_no_other():
    assert set(run.__all__) == set(run.WHERE)
    for name in run.__all__:
        assert getattr(run, name).__module__ == f"neurocl.run.{run.WHERE[name]}"
    assert not hasattr(run, "nonsense")
