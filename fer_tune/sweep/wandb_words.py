"""The words of a W&B sweep, and what they are called in a sweep of fer-tune."""

from __future__ import annotations

from fer_tune.sweep.yaml_nodes import Problems

TOP = {
    "parameters": "`parameters` is `params` here",
    "method": "`method` is `sampler` here: bayes is tpe, and random is random",
    "metric": "`metric` is `objective` here: val_accuracy, val_macro_f1 or val_balanced_accuracy",
    "early_terminate": "`early_terminate` is `pruner` here, or `search: {strategy: promote}`",
    "run_cap": "`run_cap` is `budget: {trials: ...}` here",
    "program": "fer-tune trains the networks itself, so it needs no `program`",
    "command": "fer-tune trains the networks itself, so it needs no `command`",
    "name": "`name` is `study` here",
    "project": "the project is the environment variable WANDB_PROJECT",
    "entity": "the entity is the environment variable WANDB_ENTITY",
}
"""Keys of a whole sweep."""

DOMAIN = {
    "min": "`min` is `low` here",
    "max": "`max` is `high` here",
    "values": "`values` is `choices` here",
    "q": "`q` is `step` here",
    "mu": "there is no normal distribution here: write a range of low and high",
    "sigma": "there is no normal distribution here: write a range of low and high",
    "distribution": "there is no `distribution` here: a range is uniform, or `log: true`, or has a `step`",
    "probabilities": "there are no `probabilities` here: the sampler learns them",
    "parameters": "there are no nested `parameters` here: use `when`",
}
"""Keys of one parameter."""


HINT = "This looks like a sweep of W&B. `fer-tune import FILE` converts one."


def wandb_word(words: dict[str, str], key: object, problems: Problems) -> str:
    """Returns what a key of W&B is here, or an empty text. Then `problems` have a hint."""
    found = words.get(str(key), "")
    if found:
        problems.hint = HINT
    return found
