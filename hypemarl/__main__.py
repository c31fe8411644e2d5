"""``python -m hypemarl`` is the ``hypemarl`` command."""

from hypemarl.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
