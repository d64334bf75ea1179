"""Campaigns of faults against real runs: processes are killed, stopped and starved.

    python -m benchmarks.chaos                 the long campaigns (`make chaos`)
    python -m benchmarks.chaos --short         the one that `make test` runs
    python -m benchmarks.chaos --only mirror   one of the long ones, or of the scenarios

A campaign gives `fer-tune run`, and then `fer-tune retrain`, until everything is trained. It does
what a user would do: whatever ended a run, it gives the same command again. Meanwhile faults happen
to the processes and the disk, at moments that a seed draws. At the end the study and the final fits
must be those of an undisturbed run.

- `subject.py`   the run under test: its processes, its folder, its commands
- `faults.py`    what can happen to it, a function each
- `evidence.py`  what it left, read from the database and from wandb's files
- `checks.py`    what must be true of that, a function each, which yields what is wrong
- `campaigns.py` draws faults and moments from a seed, carries them out, checks
- `other_hands.py` another program in the database: its queue, trials, study and tables
- `operations.py` kills a process before its k-th commit, rename, unlink or fsync
- `scenarios.py`  what is killed so: a search, final fits, a first load, a migration, and more
- `killing.py`   kills each scenario before each operation, does it again, and compares
- `record.py`    the tables for people and the JSON in benchmarks/results/
- `page.py`      the same tables in docs/faults.md
"""
