"""`python -m vqfusion` is `vqfusion`."""

from vqfusion.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
