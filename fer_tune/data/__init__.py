"""Faces: where they come from, which are copies of each other, and who may see them when.

    policy      how to split: read from a sweep, so it imports next to nothing
    load        `load_faces`: one call from a word or a path to images and labels
    sources     tells CSV, folder tree and zip apart; containers, csvfile and tree read them
    demo        synthetic faces drawn from facial actions, for trying the tool without FER2013
    cache       parsed once, memory-mapped ever after
    duplicates  exact and near copies
    splits      train, validation, test: copies stay on one side
    open        what training opens; a search is given no test images
    audit       what `fer-tune data` prints

Only `SplitPolicy` is exported here; the rest is imported from its module.
"""

from fer_tune.data.policy import SplitPolicy

__all__ = ["SplitPolicy"]
