"""Measurements of Chronos: real processes, a real load, and the ledger checked afterwards.

`python -m bench --help` lists what there is; docs/performance.md says what each scenario does.
"""
