"""The doctor: looks at the environment, the devices and the storage, and says what is wrong and what to do.

    findings     what a check found: ok, a note, or a problem with advice
    environment  Python, packages, variables, wandb's key
    probe        imports and multiplies in a process of its own, whose death is a finding and not the doctor's
    devices      cores, memory, driver, GPUs
    database     whether it is whole: pages, keys, rows without what they belong to
    studies      each study's two halves, its faces, and who runs it
    files        what lies under storage/ against what the database says
    examination  all of it

It reads and changes nothing: what it finds, a person decides about.
"""

from fer_tune.doctor.examination import examine
from fer_tune.doctor.findings import Finding

__all__ = ["Finding", "examine"]
