"""The ``hypemarl`` command, also as ``python -m hypemarl``."""

import sys


def main() -> int:
    """Run the command; a Ctrl-C while it is imported, too, ends it in one line."""
    try:
        from hypemarl.cli import main as command
    except KeyboardInterrupt:
        print("hypemarl: interrupted", file=sys.stderr)
        return 130
    return command()


if __name__ == "__main__":
    raise SystemExit(main())
