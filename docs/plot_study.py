"""Draws a study with matplotlib: python docs/plot_study.py STUDY [PICTURE]

You can paste each part into a notebook. For the columns see help(fer_tune.load_trials) and
help(fer_tune.load_epochs).
"""

# %% The tables: one row for each trial, one row for each epoch
import sys

import matplotlib.pyplot as plt

import fer_tune

study, picture = [*sys.argv[1:], *("demo", "study.png")[len(sys.argv) - 1 :]]
trials = fer_tune.load_trials(study)
epochs = fer_tune.load_epochs(study).merge(trials[["number", "state"]], on="number")

# %% Values in the order of the trials, and the best so far
figure, (history, curves, rates) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
complete = trials[trials["state"] == "complete"]
history.plot(complete["number"], 100 * complete["value"], "o", alpha=0.6)
history.step(complete["number"], 100 * complete["value"].cummax(), where="post")
history.set(xlabel="trial", ylabel="best epoch of validation, %", title=study)

# %% Learning curves: those of pruned trials end early
for (_, state), rows in epochs.groupby(["number", "state"]):
    colour = "tab:blue" if state == "complete" else "tab:grey"
    curves.plot(rows["epoch"], 100 * rows["val_accuracy"], ".-", color=colour, alpha=0.6)
curves.set(xlabel="epoch", ylabel="validation accuracy, %", title="blue: complete, grey: not")

# %% A hyperparameter against the value
rates.semilogx(complete["params.lr"], 100 * complete["value"], "o", alpha=0.6)
rates.set(xlabel="lr", title="learning rate")

figure.savefig(picture, dpi=110)
print(f"{len(trials)} trials, {len(epochs)} epochs: {picture}")
