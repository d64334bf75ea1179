"""Campaigns of faults against a real run: processes are killed, stopped and starved, and nothing may be lost.

    python -m benchmarks.chaos                 the long campaigns (`make chaos`)
    python -m benchmarks.chaos --short         the one that `make test` runs
    python -m benchmarks.chaos --only mirror   one of the long ones

A campaign runs `fer-tune run` on tiny trials until its budget is met, as its user would: whatever ended the run, the
same command is given again. Meanwhile faults happen to its processes and its disk, at moments that a seed draws. In the
end the study must be what an undisturbed one is.

- `subject.py`   the run under test: its processes, its folder, its command
- `faults.py`    what can happen to it, a function each
- `evidence.py`  what it left, read back from the database and from wandb's files
- `checks.py`    what must hold of that, a function each, which says what is wrong
- `campaigns.py` faults and moments drawn from a seed, carried out, checked
- `record.py`    the tables for people and the JSON in benchmarks/results/
- `page.py`      the same tables in docs/faults.md
"""
