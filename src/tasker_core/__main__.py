"""``python -m tasker_core`` is the ``tasker`` command."""

from tasker_core.cli import main

main()
