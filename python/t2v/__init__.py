"""t2v: spaCy's pretraining of the tok2vec layer, on all cores and many machines.

Nothing heavy is imported here: spaCy imports this package for each of its commands.
"""

__version__ = "0.2.0"
