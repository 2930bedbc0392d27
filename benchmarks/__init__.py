"""How fast Tasker is, beside the bare SQL loop and DBOS, all in one run on one server.

``python -m benchmarks --help`` says how to run it; ``README.md`` says what is measured and how to read it.
"""
