"""Python's garbage collector in a process whose business is to run steps."""

import gc


def calm_collector() -> None:
    """Let the collector run less often, and not over what was loaded at the start.

    A worker makes and drops dozens of objects a step. With the default thresholds the collector walks everything
    that the process holds again and again, which took a third of the time of a step when measured. It acts on the
    whole process, so it is for the process's owner to call, once everything is imported.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
