"""The sweep file: what it may say, how it is read, and the search space it describes. Nothing here imports torch."""
