"""Figures of this machine, each beside a baseline that was measured in the same run; nothing here is a test.

``python -m benchmarks [NAME…] [--json] [--quick]``. One module per measurement, each with a coroutine
``measure(quick)`` that returns rows; `report` prints them and holds what floors and aims mean.
"""
