"""Golden dumps of the model, objective and optimizer: what the real spaCy 3.8 computes.

    .venvs/spacy-3.8/bin/python -W ignore Tests/GoldenTests/reference/model3_reference.py Tests/GoldenTests/data

writes model-3.8.safetensors.gz. Parameters and vectors come from an integer hash that the Swift test computes too. Selection and replacements are
injected (`multi_task._apply_mask` is replaced), dropout masks are t2v's own (`get_dropout_mask` is replaced by Philox). Five updates per
case, one for the widest, where rounding grows too fast; stored: the features of every token, token vectors and gradients of the first
update, and parameters and averages after the last.

spaCy's bugs that t2v does not share are fixed here: StaticVectors' gradient of words without a vector, CharacterEmbed's gradient of equal
bytes. Mish and dropout have one document per update, because there documents share rows.

Where two Maxout pieces nearly tie, or a gradient is nearly zero, rounding decides, and any two correct programs diverge. So the parameters
of a case are drawn with the first salt for which spaCy itself is stable: with its initial parameters perturbed by 1e-7, in two ways, it
ends within 8e-6.
"""
import gzip
import json
import os
import struct
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy
import spacy
from spacy.ml.models import multi_task
from spacy.tokens import Doc
from spacy.util import registry
from spacy.vectors import Vectors
from thinc.api import Adam, fix_random_seed, set_dropout_rate

TEXTS = [
    ["The cat sat on the mat .", "I don't believe THAT movie !", "Zyxxy plays well , really well .", "Oh"],
    ["Über cats and 3,000 dogs .", "A b c d e f g", "well well well"],
    ["The movie sat on the dogs .", "Nobody believes cats .", "cat"],
    ["I like THAT mat .", "plays and plays and plays", "Zyxxy Zyxxy"],
    ["dogs", "cats", "The dogs believe 3,000 cats , really ."],
]
SINGLE = [["The cat sat on the mat , don't believe THAT movie ."], ["Über cats and 3,000 Zyxxy dogs ."], ["well well well , Nobody"],
          ["I like THAT mat and plays and plays"], ["Zyxxy dogs believe 3,000 cats , really ."]]
VECTOR_WIDTH = 12
MASK = 0xFFFFFFFF


# -- t2v's random numbers
def mix(z):
    z &= (1 << 64) - 1
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & ((1 << 64) - 1)
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & ((1 << 64) - 1)
    return z ^ (z >> 31)


def mixed(z):
    """`mix` of a uint64 array."""
    z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return z ^ (z >> numpy.uint64(31))


def uniform(stream, count, bound):
    """The same as `GoldenCorpus.uniform`."""
    bits = mixed(numpy.arange(count, dtype="u8") + numpy.uint64(stream << 32)) >> numpy.uint64(40)
    return ((bits.astype("f8") * 2.0**-24 * 2 - 1) * bound).astype("f4")


def stored(value):
    """A large tensor x is stored as its norm and 32 sums of +-x (see model_reference.py)."""
    flat = value.astype("f8").ravel()
    if flat.size <= 20000:
        return value.astype("f4")
    signs = mixed(numpy.arange(1, flat.size + 1, dtype="u8"))
    sums = [(numpy.where(signs >> numpy.uint64(k) & numpy.uint64(1) == 1, flat, -flat)).sum() for k in range(32)]
    return numpy.array([numpy.linalg.norm(flat), *sums], dtype="f8")


PURPOSE = {"embedding": 7, "mixer": 8, "convolution": 9, "head": 10}


def philox(key, counter):
    x, (k0, k1) = list(counter), key
    for _ in range(10):
        p0, p1 = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
        x = [(p1 >> 32) ^ x[1] ^ k0, p1 & MASK, (p0 >> 32) ^ x[3] ^ k1, p0 & MASK]
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return x


def mask(purpose, layer, update, item, index, width, rate):
    key = mix(0x9E3779B97F4A7C15)
    key = mix(key ^ (PURPOSE[purpose] << 32 | layer))
    key = mix(key ^ update)
    key = (key & MASK, key >> 32)
    threshold = round(float(numpy.float32(rate)) * 65536)
    row = numpy.zeros(width, dtype="f4")
    for unit in range(width):
        chunk, lane = divmod(unit, 8)
        word = philox(key, (item & MASK, item >> 32, index, 4 * (chunk // 4) + lane // 2))[2 * (chunk // 2 % 2) + lane % 2]
        bits = word & 0xFFFF if chunk % 2 == 0 else word >> 16
        row[unit] = 0 if bits < threshold else 1 / (1 - rate)
    return row


# -- the real spaCy
def make_nlp(c):
    nlp = spacy.blank("en")
    words = sorted({t.text for group in (TEXTS, SINGLE) for batch in group for text in batch for t in nlp.make_doc(text)} - {"Zyxxy", "Nobody"})
    rows = 60 if c["floret"] else len(words) + 1
    data = uniform(1000, rows * VECTOR_WIDTH, 1).reshape(rows, VECTOR_WIDTH)
    if c["floret"]:
        nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=data, mode="floret", minn=2, maxn=3, hash_count=2, hash_seed=2166136261)
    else:
        nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=data, keys=words)
        for lex in nlp.vocab:
            lex.rank = nlp.vocab.vectors.key2row.get(lex.orth, spacy.util.OOV_RANK)
    return nlp


def make_tok2vec(c):
    make = lambda name: registry.get("architectures", name)
    if c["embed"] == "cnn":
        return make("spacy.HashEmbedCNN.v2")(
            width=c["width"], depth=c["depth"], embed_size=c["rows"][0], window_size=1, maxout_pieces=c["pieces"], subword_features=True,
            pretrained_vectors=c["vectors"])
    if c["embed"] == "chars":
        embed = make("spacy.CharacterEmbed.v2")(
            width=c["width"], rows=c["rows"][0], nM=5, nC=4, include_static_vectors=c["vectors"], feature="LOWER")
    else:
        embed = make("spacy.MultiHashEmbed.v2")(width=c["width"], attrs=c["attrs"], rows=c["rows"], include_static_vectors=c["vectors"])
    if c["mish"]:
        encode = make("spacy.MishWindowEncoder.v2")(width=c["width"], window_size=1, depth=c["depth"])
    else:
        encode = make("spacy.MaxoutWindowEncoder.v2")(width=c["width"], window_size=1, maxout_pieces=c["pieces"], depth=c["depth"])
    return make("spacy.Tok2Vec.v2")(embed, encode)


def mend(model, vocab):
    """The exact gradients of StaticVectors and CharacterEmbed."""
    for node in model.walk():
        if node.name == "static_vectors":
            def forward(layer, docs, is_train, real=node._func):
                Y, back = real(layer, docs, is_train)
                known = numpy.array([vocab.vectors.mode == "floret" or t.orth in vocab.vectors.key2row for d in docs for t in d])
                def backward(dY):
                    dY.dataXd[~known] = 0
                    return back(dY)
                return Y, backward
            node._func = forward
        if node.name == "charembed":
            def forward(layer, docs, is_train, real=node._func):
                Y, _ = real(layer, docs, is_train)
                ids = numpy.vstack([d.to_utf8_array(nr_char=layer.get_dim("nC")) for d in docs])
                def backward(dY):
                    d = numpy.vstack(dY).reshape(len(ids), layer.get_dim("nC"), layer.get_dim("nM"))
                    dE = numpy.zeros_like(layer.get_param("E"))
                    numpy.add.at(dE, (numpy.arange(layer.get_dim("nC"))[None, :], ids), d)
                    layer.inc_grad("E", dE)
                    return []
                return Y, backward
            node._func = forward


def names_of(model, c):
    out, seen = {}, {"maxout": 0, "layernorm": 0}
    tok2vec = model.get_ref("tok2vec")
    tables = [f"embed.{a.lower()}" for a in c["attrs"]]
    embed_nodes = {n.id for n in tok2vec.get_ref("embed").walk()}
    for node in [n for n in tok2vec.walk() if n.param_names]:
        if node.name == "hashembed":
            base = tables.pop(0)
        elif node.name in ("charembed", "static_vectors"):
            base = {"charembed": "embed.chars", "static_vectors": "embed.vectors"}[node.name]
        elif node.id in embed_nodes:
            base = "mixer" if node.name == "maxout" else "mixer.norm"
        else:
            kind = "layernorm" if node.name == "layernorm" else "maxout"
            base = f"encode.{seen[kind]}" + (".norm" if kind == "layernorm" else "")
            seen[kind] += 1
        for p in node.param_names:
            out[(node.id, p)] = f"{base}.{p}"
    heads = {"maxout": "head.hidden", "layernorm": "head.hidden.norm", "linear": "head.output", "multisoftmax": "head.output"}
    for node in [n for n in model.get_ref("output_layer").walk() if n.param_names]:
        for p in node.param_names:
            out[(node.id, p)] = f"{heads[node.name]}.{p}"
    return out


def spec_of(c, nlp):
    width, on = c["width"], True
    tables = [{"kind": "table", "attribute": a, "rows": r, "seed": (5 if c["embed"] == "chars" else 8 + i), "width": width,
               "dropout": c["embed"] != "chars"} for i, (a, r) in enumerate(zip(c["attrs"], c["rows"]))]
    inputs = ([{"kind": "characters", "bytes": 4, "width": 5}] if c["embed"] == "chars" else []) + tables
    if c["vectors"]:
        inputs.append({"kind": "vectors", "width": VECTOR_WIDTH, "output": width, "attribute": "ORTH", "missing": "zero", "dropout": on})
    convolution = {"activation": "mish", "window": 1, "dropout": on} if c["mish"] else {
        "activation": "maxout", "pieces": c["pieces"], "window": 1, "dropout": on}
    if c["objective"] == "characters":
        objective = {"kind": "characters", "bytes": 3, "hidden": 10, "pieces": 2, "head_dropout": False, "loss": "linear"}
    else:
        objective = {"kind": "vectors", "loss": c["objective"], "width": VECTOR_WIDTH, "hidden": 10, "pieces": 2, "head_dropout": on,
                     "missing": "zero"}
    return {
        "width": width, "dropout": c["dropout"], "inputs": inputs, "mixer": {"pieces": 3, "dropout": "token"},
        "encoder": {"padding": {"kind": "none", "rows": 0} if c["mish"] else {"kind": "zeroVectors", "rows": c["depth"]},
                    "convolutions": [convolution] * c["depth"]},
        "objective": objective, "mask_probability": 0.15,
        "optimizer": {"kind": "adam", "learn_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "grad_clip": c["clip"], "l2": c["L2"],
                      "l2_is_weight_decay": c["decay"], "averages": True, "gradient_scale": "words", "block": "parameter"},
        "layer_norm_epsilon": 1e-8, "initialization": "file", "weights_file": "template"}


def floret_rows(vectors, word):
    if not word:
        return []
    key = vectors.bow + word + vectors.eow
    grams = [key] + [key[s:s + n] for n in range(vectors.minn, vectors.maxn + 1) for s in range(len(key) - n + 1)]
    return [int(h) % vectors.shape[0] for gram in grams for h in vectors._get_ngram_hashes(gram)]


def features(nlp, docs, columns, rows_wanted, byte_count):
    """Per token: ids by column, vector rows, bytes."""
    vectors, tokens = nlp.vocab.vectors, [t for d in docs for t in d]
    ids = numpy.vstack([d.to_array(columns).reshape(len(d), -1) for d in docs]).astype("u8")
    rows = [[] if not rows_wanted else floret_rows(vectors, t.text) if vectors.mode == "floret" else
            [vectors.key2row[t.orth]] if t.orth in vectors.key2row else [] for t in tokens]
    data = numpy.vstack([d.to_utf8_array(nr_char=byte_count) for d in docs]).astype("u1") if byte_count else numpy.zeros((len(tokens), 0), "u1")
    return ids, rows, data


def run(title, c, dump, shake=0):
    """Writes one case into `dump`. With `shake`, each initial value is off by up to 1e-7 of itself; the number selects the perturbation."""
    fix_random_seed(1)
    rng = numpy.random.RandomState(7)
    nlp, tok2vec = make_nlp(c), make_tok2vec(c)
    if c["objective"] == "characters":
        create = multi_task.create_pretrain_characters(maxout_pieces=2, hidden_size=10, n_characters=3)
    else:
        create = multi_task.create_pretrain_vectors(maxout_pieces=2, hidden_size=10, loss=c["objective"])
    tok2vec.initialize(X=[nlp.make_doc("Give it a doc to infer shapes")])
    model = create(nlp.vocab, tok2vec)
    model.initialize(X=[nlp.make_doc("Give it a doc to infer shapes")])
    set_dropout_rate(model, c["dropout"])
    mend(model, nlp.vocab)
    optimizer = Adam(0.001, beta1=0.9, beta2=0.999, eps=1e-8, L2=c["L2"], grad_clip=c["clip"], use_averages=True, L2_is_weight_decay=c["decay"])
    names, nodes = names_of(model, c), {n.id: n for n in model.walk()}
    order = sorted(names, key=lambda k: names[k])
    for number, (i, p) in enumerate(order):
        shape = nodes[i].get_param(p).shape
        kind = names[(i, p)].split(".")[-1]
        bound = {"G": 0.3, "b": 0.2, "E": 0.1}.get(kind) or (6 / (shape[0] + shape[-1])) ** 0.5
        value = uniform(64 * c["salt"] + number, int(numpy.prod(shape)), bound).reshape(shape)
        value = value + numpy.float32(1) if kind == "G" else value
        if shake:
            value = (value * (1 + 1e-7 * uniform(9000 * shake + number, value.size, 1).astype("f8").reshape(shape))).astype("f4")
        nodes[i].set_param(p, value)
    byte_count = 4 if c["embed"] == "chars" else 0
    byte_count = max(byte_count, 3 if c["objective"] == "characters" else 0)
    columns = ["ORTH"] + [a for a in dict.fromkeys(c["attrs"]) if a not in ("ORTH", "SPACY", "SENT_START")]
    rows_wanted = c["vectors"] or c["objective"] != "characters"
    for update in range(c["updates"]):
        texts = (SINGLE if c["mish"] or c["dropout"] else TEXTS)[update]
        docs = [Doc(nlp.vocab, words=[t.text for t in d], spaces=[bool(t.whitespace_) for t in d]) for d in map(nlp.make_doc, texts)]
        N = sum(map(len, docs))
        keep = rng.uniform(size=N) >= 0.3
        keep[rng.randint(N)] = False
        fresh, i = [], 0
        for d in docs:
            words = []
            for t in d:
                words.append(t.text if keep[i] else ["[MASK]", "[MASK]", "cats", t.text][rng.randint(4)])
                i += 1
            fresh.append(Doc(nlp.vocab, words=words, spaces=[bool(t.whitespace_) for t in d]))
        multi_task._apply_mask = lambda docs, words, mask_prob=0.15: (keep.copy(), fresh)
        drawn = []

        def own(self, shape, rate):
            if not rate:
                return numpy.ones(shape, dtype="f4")
            k, tables = len(drawn), 0 if c["embed"] == "chars" else len(c["attrs"])
            embeddings = tables + c["vectors"]
            drawn.append(shape)
            if k < embeddings:
                layer = k if k < tables else len(c["attrs"]) + (4 if c["embed"] == "chars" else 0)
                return mask("embedding", layer, update, 0, 0, shape[0], rate)
            if k == embeddings:
                return numpy.vstack([mask("mixer", 0, update, 0, t, shape[1], rate) for t in range(shape[0])])
            level = k - embeddings
            if level <= c["depth"]:
                first = 1 if c["mish"] else 0
                return numpy.vstack([mask("convolution", level, update, 0, t + first, shape[1], rate) for t in range(shape[0])])
            return numpy.vstack([mask("head", 0, update, 0, t, shape[1], rate) for t in range(shape[0])])

        real = type(model.ops).get_dropout_mask
        type(model.ops).get_dropout_mask = own
        prediction, backprop = model.begin_update(docs)
        type(model.ops).get_dropout_mask = real
        _, d = model.attrs["loss"](model.ops, docs, prediction)
        backprop(d)
        at = f"{title}/{update}/"
        original, masked = features(nlp, docs, columns, rows_wanted, byte_count), features(nlp, fresh, columns, rows_wanted, byte_count)
        for name, (ids, rows, data) in (("original", original), ("masked", masked)):
            dump[at + name + ".ids"] = ids
            dump[at + name + ".rows"] = numpy.array([r for row in rows for r in row], dtype="i4")
            dump[at + name + ".counts"] = numpy.array([len(row) for row in rows], dtype="i4")
            dump[at + name + ".bytes"] = data
        dump[at + "lengths"] = numpy.array([len(x) for x in docs], dtype="i4")
        dump[at + "spaces"] = numpy.array([bool(t.whitespace_) for x in docs for t in x], dtype="u1")
        dump[at + "selected"] = (~keep).astype("u1")
        if update == 0:
            gradients = {names[k]: g for k, (_, g) in model.get_gradients().items()}
            for name, value in gradients.items():
                dump[f"{title}/gradient/{name}"] = value.copy()
            if not c["dropout"]:
                dump[f"{title}/vectors"] = numpy.vstack(tok2vec.predict(fresh)).astype("f4")
        model.finish_update(optimizer)
    for key in order:
        dump[f"{title}/after/{names[key]}"] = nodes[key[0]].get_param(key[1]).copy()
        dump[f"{title}/averages/{names[key]}"] = optimizer.averages[key].copy()
    dump[f"{title}/salt"] = numpy.array([c["salt"]], dtype="i4")
    dump[f"{title}/table"] = numpy.array(nlp.vocab.vectors.shape, dtype="i4")
    return json.dumps(spec_of(c, nlp), sort_keys=True)


def is_steady(title, case, dump):
    """Whether rounding of the initial parameters hardly moves the final ones."""
    for shake in (1, 2):
        shaken = {}
        run(title, case, shaken, shake)
        for name, value in shaken.items():
            if "/after/" not in name:
                continue
            # For a large tensor the test knows only the whole distance.
            size = numpy.linalg.norm if value.size > 20000 else lambda x: numpy.abs(x).max()
            if size(value - dump[name]) > 8e-6 * max(1e-6, size(value)):
                return False
    return True


def write(path, arrays, metadata):
    kinds = {"float32": "F32", "float64": "F64", "int32": "I32", "uint64": "U64", "uint8": "U8"}
    header, data = {"__metadata__": metadata}, b""
    for name, value in arrays.items():
        raw = numpy.ascontiguousarray(value).tobytes()
        header[name] = {"dtype": kinds[str(value.dtype)], "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
        packed.write(struct.pack("<Q", len(text)) + text + data)


def main():
    four = ["NORM", "PREFIX", "SUFFIX", "SHAPE"]
    base = dict(attrs=four, rows=[20, 10, 10, 10], width=8, vectors=False, depth=4, pieces=3, mish=False, floret=False, dropout=0.0, embed="cnn",
                L2=0.01, clip=1.0, decay=True, updates=5)
    multi = dict(base, embed="multi", rows=[25, 9, 13, 11], vectors=True, depth=2, pieces=2)
    six = dict(multi, attrs=["ORTH", "SHAPE", "SPACY", "LOWER", "IS_SPACE", "ENT_TYPE"], rows=[31, 9, 5, 20, 3, 3], width=9)
    chars = dict(multi, embed="chars", attrs=["LOWER"], rows=[20])
    cases = {}
    for objective in ("cosine", "L2", "characters"):
        cases[f"cnn-{objective}"] = dict(base, objective=objective)
        cases[f"multi-vectors-{objective}"] = dict(multi, objective=objective)
        cases[f"floret-{objective}"] = dict(multi, floret=True, objective=objective)
        cases[f"dropout-{objective}"] = dict(multi, dropout=0.2, objective=objective)
    cases["cnn-vectors-cosine"] = dict(base, vectors=True, objective="cosine")
    cases["two-characters"] = dict(multi, attrs=["NORM", "SPACY"], rows=[19, 4], vectors=False, depth=1, objective="characters")
    cases["six-cosine"] = dict(six, objective="cosine")
    cases["deep-characters"] = dict(multi, vectors=False, depth=8, objective="characters")
    cases["chars-cosine"] = dict(chars, objective="cosine")
    cases["chars-dropout-L2"] = dict(chars, dropout=0.2, objective="L2")
    cases["mish-characters"] = dict(multi, mish=True, objective="characters")
    cases["mish-dropout-cosine"] = dict(multi, mish=True, dropout=0.2, objective="cosine")
    cases["clip-in-gradient"] = dict(multi, decay=False, L2=0.1, clip=0.01, objective="L2")
    cases["no-decay-no-clip"] = dict(multi, L2=0.0, clip=0.0, objective="characters")
    cases["wide-96-characters"] = dict(base, width=96, objective="characters")
    cases["wide-256-cosine"] = dict(multi, width=256, depth=8, pieces=3, updates=1, objective="cosine")
    dump, specs = {}, {}
    for title, case in cases.items():
        for salt in range(3, 40):
            found = {}
            specs[title] = run(title, dict(case, salt=salt), found)
            if is_steady(title, dict(case, salt=salt), found):
                break
        else:
            raise SystemExit(f"{title}: no salt is stable")
        large = ("/gradient/", "/after/", "/averages/")
        dump.update({k: stored(v) if any(part in k for part in large) else v for k, v in found.items()})
        print(title, salt, flush=True)
    write(os.path.join(sys.argv[1], "model-3.8.safetensors.gz"), dump, specs)


if __name__ == "__main__":
    main()
