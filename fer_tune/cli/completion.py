"""Completes names in a shell: studies, sweeps and families. It never fails, and shows no error."""

from __future__ import annotations

from contextlib import suppress


def complete_studies(incomplete: str) -> list[str]:
    """Returns the studies of the database whose names begin so."""
    with suppress(Exception):  # a shell has no place for an error here
        from fer_tune.api.arguments import open_store

        with open_store() as store:
            return [record.name for record in store.studies.all() if record.name.startswith(incomplete)]
    return []


def complete_sweeps(incomplete: str) -> list[str]:
    """Returns the sweeps that have names, and the files and folders, whose names begin so."""
    from glob import escape, glob

    with suppress(Exception):
        from fer_tune.sweep.shipped import local_names, names

        named = {name for name in (*local_names(), *names()) if name.startswith(incomplete)}
        return sorted(named | {*glob(f"{escape(incomplete)}*")})
    return []


def complete_families(incomplete: str) -> list[str]:
    """Returns the families whose names begin so. torchvision's need `torchvision/` first."""
    with suppress(Exception):
        from fer_tune.models import FAMILIES

        return [name for name in FAMILIES.alternatives(incomplete) if name.startswith(incomplete)]
    return []
