"""Networks whose weights were learned on other images, for `benchmarks.ablation`.

`python -m benchmarks.other_weights` collects the weights in a folder. `networks.py` is a family in
a file of its own, and reads them there.
"""
