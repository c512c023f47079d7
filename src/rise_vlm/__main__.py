"""``python -m rise_vlm`` is ``rise``, for launchers that start modules."""

from rise_vlm.cli import main

main()
