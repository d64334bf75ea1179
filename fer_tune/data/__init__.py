"""Data sets: where they come from, which images are copies, and who may see them when.

spec        what images are (classes, side, channels), and where a worker finds them
policy      how to split: read from a sweep, so it imports next to nothing
fer2013     facts about FER2013: class names, synonyms, counts
load        `load_faces`: one call from a word or a path to a data set
sources     tells CSV, folder tree and zip apart; containers, csvfile, tree and images read them
demo        synthetic faces drawn from facial actions, for trying the tool without FER2013
cache       parsed once, memory-mapped from then on
duplicates  exact and near copies
splits      train, validation, test: copies stay on one side
access      what a worker opens: a search gets no test images
audit       what `fer-tune data` prints
"""
