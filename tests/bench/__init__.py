"""The bench: the limit of this machine and the product beside it, measured in one run.

``script/bench`` is its front. Nothing here asserts a time; `test_bench` only sees that it runs.
"""
