"""The probe of hidden words that quality.py (spaCy 2.3.9) and quality3.py (spaCy 3.8) share: a ridge regression from a layer's output."""
import numpy

PENALTIES = (10.0, 100.0, 1000.0, 10000.0, 100000.0)


def ridge(inputs, targets, penalty):
    """The fitted predictor; inputs are standardized, the intercept is not penalized."""
    mean, scale = inputs.mean(axis=0), inputs.std(axis=0) + 1e-8
    x, centre = (inputs - mean) / scale, targets.mean(axis=0)
    weights = numpy.linalg.solve(x.T @ x + penalty * numpy.eye(x.shape[1]), x.T @ (targets - centre))
    return lambda new: (new - mean) / scale @ weights + centre


def cosine(predicted, true):
    norms = numpy.linalg.norm(predicted, axis=1) * numpy.linalg.norm(true, axis=1)
    return float(((predicted * true).sum(axis=1) / numpy.maximum(norms, 1e-12)).mean())


def score(inputs, targets, measure, ends):
    """(score, penalty, rows scored). The first half of the documents is for fitting, a fifth of it for choosing the penalty; the second
    half is scored.

    ends: rows up to the end of each document.
    """
    half, fifth = ends[len(ends) // 2 - 1], ends[len(ends) * 2 // 5 - 1]
    choices = [(measure(ridge(inputs[:fifth], targets[:fifth], p)(inputs[fifth:half]), targets[fifth:half]), p) for p in PENALTIES]
    penalty = max(choices)[1]
    return measure(ridge(inputs[:half], targets[:half], penalty)(inputs[half:]), targets[half:]), penalty, ends[-1] - half
