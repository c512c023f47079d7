"""``python -m rise_vlm`` is ``rise``, for launchers that start modules."""

from rise_vlm import signals


def main() -> None:
    """The command ``rise``; whatever takes long to import comes after the signals are taken."""
    signals.take()
    from rise_vlm.cli import main

    main()


if __name__ == "__main__":
    main()
