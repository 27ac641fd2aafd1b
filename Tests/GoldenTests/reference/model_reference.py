"""Golden dumps of the model, objective and optimizer: what the real spaCy 2.x computes.

    .venvs/spacy-2.3.9/bin/python Tests/GoldenTests/reference/model_reference.py Tests/GoldenTests/data
    .venvs/spacy-2.1.9/bin/python Tests/GoldenTests/reference/model_reference.py Tests/GoldenTests/data

writes model-VERSION.safetensors. In: the text below, parameters and vectors from an integer hash that the Swift test computes too. Out, for
every case: rows of every layer, the prediction's gradient, every parameter's gradient, and parameters, moments and averages after 5 updates.

Dropout is 0 and selections are injected, so both sides are deterministic. thinc applies the optimizer inside each layer's backward, and
LayerNorm passes its gradient on through its already updated G; so the `sgd` given here only collects, and the optimizer runs after the
whole backward. To keep the files small a tensor x is stored as its norm and 32 sums of +-x: with r the signs, the mean of (r.x - r.y)^2 is
an unbiased estimate of |x - y|^2 over all elements. One case is stored in full.

Where two Maxout pieces nearly tie, rounding decides the winner, and from there any two correct programs diverge: spaCy 2.1.9 and 2.3.9, or
one of them with its documents in another order, by 1e-2 in the moments after a few updates. So the parameters of each case are drawn with
the first salt for which spaCy itself is stable: with its initial parameters perturbed by 3e-6, in twenty ways (eight for older cases), it
ends within 3e-4 in every tensor.
"""
import itertools
import json
import struct
import sys

import numpy
import spacy
from spacy._ml import Tok2Vec, create_default_optimizer, link_vectors_to_models
from spacy.attrs import ID, NORM, ORTH, PREFIX, SHAPE, SUFFIX
from spacy.cli.pretrain import create_pretraining_model, get_vectors_loss
from spacy.tokens import Doc
from spacy.vectors import Vectors

# Herman Melville, Moby-Dick (1851), chapter 1: public domain.
TEXT = """Call me Ishmael .
Some years ago — never mind how long precisely — having little or no money in my purse , and nothing particular to interest me on shore ,
I thought I would sail about a little and see the watery part of the world .
It is a way I have of driving off the spleen and regulating the circulation .
Whenever I find myself growing grim about the mouth ;
whenever it is a damp , drizzly November in my soul ;
whenever I find myself involuntarily pausing before coffin warehouses , and bringing up the rear of every funeral I meet ;
and especially whenever my hypos get such an upper hand of me , that it requires a strong moral principle to prevent me
from deliberately stepping into the street , and methodically knocking people ’s hats off —
then , I account it high time to get to sea as soon as I can .
This is my substitute for pistol and ball .
With a philosophical flourish Cato throws himself upon his sword ; I quietly take to the ship .
There is nothing surprising in this .
If they but knew it , almost all men in their degree , some time or other , cherish very nearly the same feelings towards the ocean with me .
There now is your insular city of the Manhattoes , belted round by wharves as Indian isles by coral reefs
— commerce surrounds it with her surf .""".split("\n")
DOCUMENTS = [line.split() for line in TEXT]
BATCHES = [DOCUMENTS[0:4], DOCUMENTS[4:7], DOCUMENTS[7:10], DOCUMENTS[10:13], DOCUMENTS[13:16]]
ROWS, VECTOR_WIDTH, SKETCHES = 200, 20, 32
COLUMNS = [ID, NORM, PREFIX, SUFFIX, SHAPE, ORTH]


def mix(z):
    """SplitMix64's finalizer of a uint64 array."""
    z = z.astype("uint64")
    z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return z ^ (z >> numpy.uint64(31))


def uniform(stream, shape, bound):
    """Floats in +-bound; element i of a stream is the hash of stream * 2^32 + i."""
    count = int(numpy.prod(shape))
    bits = mix(numpy.arange(count, dtype="uint64") + numpy.uint64(stream << 32)) >> numpy.uint64(40)
    return ((bits.astype("float64") * 2.0 ** -24 * 2 - 1) * bound).astype("float32").reshape(shape)


SIGNS = numpy.array(
    [((mix(numpy.arange(1, 200001, dtype="uint64")) >> numpy.uint64(k)) & numpy.uint64(1)).astype("float32") * 2 - 1 for k in range(SKETCHES)]
)


def sketch(x):
    """[norm, 32 signed sums] of all elements."""
    flat = numpy.asarray(x, dtype="float64").ravel()
    return numpy.concatenate([[numpy.linalg.norm(flat)], SIGNS[:, : flat.size] @ flat]).astype("float32")


def write_safetensors(path, tensors):
    names = {"float32": "F32", "int32": "I32", "uint64": "U64", "float64": "F64"}
    header, offset = {}, 0
    for name, value in tensors.items():
        header[name] = {"dtype": names[str(value.dtype)], "shape": list(value.shape), "data_offsets": [offset, offset + value.nbytes]}
        offset += value.nbytes
    text = json.dumps(header, sort_keys=True).encode("utf8")
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file_:
        file_.write(struct.pack("<Q", len(text)) + text)
        for value in tensors.values():
            file_.write(numpy.ascontiguousarray(value).tobytes())


def make_nlp(all_words):
    """A blank English pipeline with vectors for all words, or for all but every seventh; `[MASK]` always has one."""
    nlp = spacy.blank("en")
    words = sorted(set(itertools.chain(*DOCUMENTS)))
    kept = ["[MASK]"] + [word for i, word in enumerate(words) if all_words or i % 7 != 3]
    for word in words + ["[MASK]"]:
        nlp.vocab[word]
    data = uniform(1000, (len(kept), VECTOR_WIDTH), 1.0)
    nlp.vocab.vectors = Vectors(data=data, keys=[nlp.vocab.strings.add(word) for word in kept], name="golden%d" % all_words)
    link_vectors_to_models(nlp.vocab)
    return nlp


def selection(all_words, vocab):
    """For every batch and document, what replaces each token: None if not selected. Fixed, and only tokens that have a vector."""
    random, flat, chosen = numpy.random.RandomState(7), list(itertools.chain(*DOCUMENTS)), []
    for batch in BATCHES:
        chosen.append([])
        for document in batch:
            row = []
            for word in document:
                roll, kind = random.uniform(), random.uniform()
                other = flat[random.randint(len(flat))]
                if roll >= 0.2 or vocab.strings[word] not in vocab.vectors.key2row:
                    row.append(None)
                else:
                    row.append("[MASK]" if kind < 0.8 else other if kind < 0.9 else word)
            if all(word is None for word in row):
                row[0] = "[MASK]"
            chosen[-1].append(row)
    return chosen


def walk(model):
    """All layers, breadth-first."""
    queue = [model]
    for layer in queue:
        queue.extend(child for child in getattr(layer, "_layers", []) if not any(child is known for known in queue))
    return queue


def name_layers(model, depth, use_vectors):
    """(name, layer, attributes) in the order of t2v's parameter layout."""
    layers = walk(model)
    of_type = lambda name: [layer for layer in layers if type(layer).__name__ == name]
    tables = {layer.column: layer for layer in of_type("HashEmbed")}
    norms = of_type("LayerNorm")
    mixer = [n for n in norms if n.child.nI == (5 if use_vectors else 4) * n.child.nO and n.child.nO != 300]
    encoders = [n for n in norms if n.child.nI == 3 * n.child.nO]
    head = [n for n in norms if n.child.nO == 300]
    affine = of_type("Affine")
    assert (len(tables), len(mixer), len(encoders), len(head), len(affine)) == (4, 1, depth, 1, 1)
    named = []
    for seed, (column, feature) in enumerate([(1, "norm"), (2, "prefix"), (3, "suffix"), (4, "shape")], 6):
        tables[column].seed = seed
        named.append(("embed." + feature, tables[column], [("E", "vectors")]))
    if use_vectors:
        named.append(("embed.vectors", of_type("StaticVectors")[0], [("W", "W")]))
    for name, norm in [("mixer", mixer[0])] + [("encode.%d" % i, n) for i, n in enumerate(encoders)] + [("head.hidden", head[0])]:
        named.append((name, norm.child, [("W", "W"), ("b", "b")]))
        named.append((name + ".norm", norm, [("G", "G"), ("b", "b")]))
    named.append(("head.output", affine[0], [("W", "W"), ("b", "b")]))
    return named, tables


def fill(named, salt, shake, trial):
    """Parameters from the hash: stream 64 * salt + k for the k-th tensor; then each is shaken by a relative `shake`."""
    stream = 64 * salt
    for name, layer, attributes in named:
        for short, attribute in attributes:
            view = getattr(layer, attribute)
            if short == "G":
                view[:] = 1 + uniform(stream, view.shape, 0.3)
            elif short == "b":
                view[:] = uniform(stream, view.shape, 0.2)
            elif short == "E":
                view[:] = uniform(stream, view.shape, 0.1)
            else:
                view[:] = uniform(stream, view.shape, (6.0 / (view.shape[0] + view.shape[-1])) ** 0.5)
            view *= 1 + uniform(500000 * (trial + 1) + stream, view.shape, shake)
            stream += 1


def reached(chosen, depth):
    """By level 0..depth: flat positions (documents between shared padding, as in spaCy) that a selected token's loss can reach."""
    lists, start = [[] for _ in range(depth + 1)], 0
    for document in chosen:
        selected = [depth + i for i, word in enumerate(document) if word is not None]
        for position in range(len(document) + 2 * depth):
            distance = min([abs(position - s) for s in selected] or [depth + 1])
            for level in range(depth + 1):
                if distance <= depth - level:
                    lists[level].append(start + position)
        start += len(document) + depth
    return lists


def watch(layer, store, name):
    """Keeps what a layer's begin_update returns."""
    inner = layer.begin_update

    def begin_update(X, drop=0.0):
        Y, backward = inner(X, drop=drop)
        store[name] = numpy.array(Y)
        return Y, backward

    layer.begin_update = begin_update


def run_case(nlp, use_vectors, loss, width, depth, pieces, chosen, full, salt, shake=0.0, trial=0):
    """Five updates: the part that the dump keeps, and the final tensors."""
    out, final = {}, {}
    vectors_name = nlp.vocab.vectors.name if use_vectors else None
    tok2vec = Tok2Vec(width, ROWS, conv_depth=depth, pretrained_vectors=vectors_name, cnn_maxout_pieces=pieces)
    wrapped = create_pretraining_model(nlp, tok2vec)
    model = wrapped._layers[0]  # without the wrapper that masks at random
    named, tables = name_layers(model, depth, use_vectors)
    fill(named, salt, shake, trial)
    optimizer = create_default_optimizer(model.ops)
    seen, residuals = {}, [layer for layer in walk(model) if type(layer).__name__ == "Residual"]
    uniqued = [layer for layer in walk(model) if "uniqued" in getattr(layer.begin_update, "__qualname__", "")]
    watch(uniqued[0], seen, "mixer")
    for index, layer in enumerate(residuals):
        watch(layer, seen, "encode.%d" % index)
    watch([layer for name, layer, _ in named if name == "head.hidden.norm"][0], seen, "head.hidden")
    for update, batch in enumerate(BATCHES):
        docs = [Doc(nlp.vocab, words=words) for words in batch]
        marks = chosen[update] if chosen else [[word for word in words] for words in batch]
        inputs = [[mark if mark is not None else word for mark, word in zip(*pair)] for pair in zip(marks, batch)]
        given = [Doc(nlp.vocab, words=words) for words in inputs]
        prediction, backward = model.begin_update(given, drop=0.0)
        value, gradient = get_vectors_loss(model.ops, docs, prediction, loss)
        selected = numpy.array([mark is not None for row in marks for mark in row])
        gradient = numpy.array(gradient * selected.reshape((-1, 1)), dtype="float32")
        calls = []
        backward(numpy.array(gradient), sgd=lambda weights, gradient, key=None: calls.append((weights, gradient, key)))
        if update == 0:
            lists = reached(marks, depth)
            pad = numpy.zeros((depth, len(COLUMNS)), dtype="uint64")
            X = numpy.vstack([pad] + [rows for doc in given for rows in (doc.to_array(COLUMNS), pad)])
            for name, layer, attributes in named:
                if attributes[0][0] == "E":
                    out["forward/" + name] = sketch(layer.predict(X[lists[0]]))
            out["forward/mixer"] = sketch(seen["mixer"][lists[0]])
            for index in range(depth):
                out["forward/encode.%d" % index] = sketch(seen["encode.%d" % index][lists[index + 1]])
            out["forward/head.hidden"] = sketch(seen["head.hidden"][selected])
            out["forward/prediction.gradient"] = sketch(gradient[selected])
            for name, layer, attributes in named:
                for short, attribute in attributes:
                    value = getattr(layer, "d_" + attribute)
                    out["gradient/%s.%s" % (name, short)] = numpy.array(value) if full else sketch(value)
        for weights, gradient, key in calls:
            optimizer(weights, gradient, key=key)
    for name, layer, attributes in named:
        for short, attribute in attributes:
            offset, _, shape = layer._mem._offsets[(layer.id, attribute)]
            piece = slice(offset, offset + int(numpy.prod(shape)))
            states = {"parameters": getattr(layer, attribute), "moment1": optimizer.mom1[layer.id][piece]}
            states.update({"moment2": optimizer.mom2[layer.id][piece], "averages": optimizer.averages[layer.id][piece]})
            for state, value in states.items():
                key = "after/%s/%s.%s" % (state, name, short)
                out[key], final[key] = sketch(value), numpy.array(value).ravel()
    return out, final


def steady_case(*arguments):
    """The first salt for which rounding does not decide a Maxout."""
    for salt in range(3000):
        out, final = run_case(*(arguments + (salt,)))
        drift = 0.0
        for trial in range(20):
            _, shaken = run_case(*(arguments + (salt, 3e-6, trial)))
            drift = max([drift] + [numpy.linalg.norm(final[key] - shaken[key]) / numpy.linalg.norm(final[key]) for key in final])
            if drift >= 3e-4:
                break
        if drift < 3e-4:
            out["salt"] = numpy.array([salt], dtype="int32")
            return out, drift
    raise SystemExit("no stable parameters found")


def dump_documents(nlp, out, prefix, chosen):
    """What the network sees and what it should predict, token by token; the test needs no tokenizer."""
    names = ["orth", "norm", "prefix", "suffix", "shape"]
    words, marks = list(itertools.chain(*BATCHES)), list(itertools.chain(*chosen)) if chosen else None
    inputs = [[mark if mark is not None else word for mark, word in zip(*pair)] for pair in zip(marks, words)] if chosen else words
    table = nlp.vocab.vectors.key2row
    features = numpy.vstack([Doc(nlp.vocab, words=row).to_array([ORTH, NORM, PREFIX, SUFFIX, SHAPE]) for row in inputs])
    assert len({tuple(row) for row in features}) == len({row[0] for row in features}), "an ORTH with two NORMs"
    for column, name in enumerate(names):
        out[prefix + name] = features[:, column].astype("uint64")
    orth = lambda rows: [table.get(nlp.vocab.strings[word], -1) for row in rows for word in row]
    out[prefix + "row"] = numpy.array(orth(inputs), dtype="int32")
    out[prefix + "target"] = numpy.array(orth(words), dtype="int32")
    if chosen:
        out[prefix + "selected"] = numpy.array([mark is not None for row in marks for mark in row], dtype="int32")
    out[prefix + "lengths"] = numpy.array([len(row) for row in words], dtype="int32")
    out[prefix + "batches"] = numpy.array([len(batch) for batch in BATCHES], dtype="int32")
    out[prefix + "vectors"] = numpy.array(nlp.vocab.vectors.data.shape, dtype="int32")


def main(folder, only=""):
    """All cases; or those whose names begin with `only`, and the others as in the file."""
    out = {}
    path = "%s/model-%s.safetensors" % (folder, spacy.__version__)
    if only:
        from safetensors.numpy import load_file

        out = load_file(path)
    for use_vectors in [False, True]:
        nlp = make_nlp(use_vectors)
        chosen = selection(use_vectors, nlp.vocab)
        for masked in [False, True]:
            dump_documents(nlp, out, "documents/uv%d-masked%d/" % (use_vectors, masked), chosen if masked else None)
            for loss, (width, depth), pieces in itertools.product(["cosine", "L2"], [(96, 4), (64, 2)], [3, 2]):
                prefix = "uv%d-masked%d-%s-w%d-d%d-p%d/" % (use_vectors, masked, loss, width, depth, pieces)
                if not prefix.startswith(only):
                    continue
                full = spacy.__version__ == "2.3.9" and prefix == "uv0-masked1-cosine-w64-d2-p2/"
                found, drift = steady_case(nlp, use_vectors, loss, width, depth, pieces, chosen if masked else None, full)
                out.update({prefix + name: value for name, value in found.items()})
                print("%s salt %d, drift %.1e" % (prefix, found["salt"][0], drift))
    write_safetensors(path, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
