"""`make bench`: how fast the product is, each figure beside its ceiling in the same run (docs/benchmarks.md).

Figures, never a pass or a fail. One module a subject; `python -m tests.bench [subject …] [--short]`.
"""
