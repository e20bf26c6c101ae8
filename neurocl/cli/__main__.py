"""``python -m neurocl.cli``."""

from neurocl.cli.entry import main

if __name__ == "__main__":
    main()
