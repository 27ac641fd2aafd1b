"""Word vectors of a job. In: the pipeline's vectors. Out: the `vectors` part of job.json, and copies if requested or needed."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
from pathlib import Path
from typing import Any, Optional

from .errors import InputError
from .layers import attribute_name


def check_name(config: Any) -> None:
    """[initialize] vectors: a folder or an installed package.

    Raises: InputError if it is neither.
    """
    from spacy.util import is_package

    name = config["initialize"].get("vectors")
    if name is None or is_package(str(name)):
        return
    if not Path(str(name)).exists():
        is_path = "/" in str(name)  # no package has such a name
        raise InputError(
            f'there are no vectors "{name}": it is neither a folder nor an installed package',
            "[initialize]",
            "give an existing folder to --paths.vectors"
            if is_path
            else f"install the package (`python -m spacy download {name}`), or give --paths.vectors FOLDER",
        )
    if not Path(str(name)).is_dir():
        language = config["nlp"].get("lang", "LANG")
        raise InputError(
            f"{name} is a file, but vectors are a folder or an installed package",
            "[initialize]",
            f"make a folder of it: `python -m spacy init vectors {language} {name} vectors`, then --paths.vectors vectors",
        )


def none_in(nlp: Any) -> str:
    """Why a pipeline has no vectors, as the end of a sentence."""
    name = nlp.config.interpolate()["initialize"].get("vectors")
    if name is None:
        return "there are none"
    return f"{name} has none" + (" (of spaCy's packages, those that end in _md or _lg have some)" if str(name).endswith("_sm") else "")


def describe(vectors: Any, name: Any, folder: Path, portable: bool) -> dict[str, Any]:
    """The `vectors` part; writes FOLDER/vectors if `portable`, or if no file on disk holds exactly these vectors.

    vectors: the vocabulary's `spacy.vectors.Vectors`; name: [initialize] vectors, a folder or a package.
    Raises: InputError for vectors of another class.
    """
    from spacy.vectors import Mode, Vectors

    if type(vectors) is not Vectors:
        raise InputError(f"{type(vectors).__name__} are not spaCy's own vectors", "[nlp.vectors]", 'use @vectors = "spacy.Vectors.v1"')
    source = find_source(vectors, name)
    files = place(vectors, source, folder, portable)
    floret = vectors.mode == Mode.floret
    return {
        **files,
        "rows": vectors.shape[0],
        "width": vectors.shape[1],
        "mode": "floret" if floret else "default",
        "minn": int(vectors.minn),
        "maxn": int(vectors.maxn),
        "hash_count": int(vectors.hash_count),
        "hash_seed": int(vectors.hash_seed),
        "bow": vectors.bow,
        "eow": vectors.eow,
        "attribute": attribute_name(getattr(vectors, "attr", "ORTH")),
        "digest": digest(vectors),
    }


def find_source(vectors: Any, name: Any) -> Optional[Path]:
    """The folder `vocab` that the vectors came from, if its files are equal to the vectors in memory: callbacks may have changed them."""
    import numpy
    import srsly
    from spacy.util import is_package

    if name is None:
        return None
    root = Path(str(name))
    if is_package(str(name)):
        package = Path(str(importlib.import_module(str(name)).__file__)).parent
        meta = srsly.read_json(package / "meta.json")
        root = package / f"{meta['lang']}_{meta['name']}-{meta['version']}"
    vocab = root / "vocab"
    if not (vocab / "vectors").is_file() or not (vocab / "key2row").is_file():
        return None
    try:
        stored = numpy.load(vocab / "vectors", mmap_mode="r", allow_pickle=False)
    except ValueError:
        return None
    if stored.dtype.str != "<f4" or not stored.flags.c_contiguous or stored.shape != vectors.data.shape:
        return None
    step = 1 << 14
    if any(not numpy.array_equal(stored[row : row + step], vectors.data[row : row + step]) for row in range(0, len(stored), step)):
        return None
    if srsly.read_msgpack(vocab / "key2row") != dict(vectors.key2row):
        return None
    return vocab.resolve()


def place(vectors: Any, source: Optional[Path], folder: Path, portable: bool) -> dict[str, str]:
    """Where the two files are: absolute paths, or paths in the job."""
    import numpy
    import srsly

    if source is not None and not portable:
        return {"file": str(source / "vectors"), "key2row": str(source / "key2row")}
    target = folder / "vectors"
    target.mkdir()
    if source is not None:
        for name in ("vectors", "key2row"):
            try:
                os.link(source / name, target / name)
            except OSError:
                shutil.copyfile(source / name, target / name)
    else:
        with (target / "vectors").open("wb") as file:
            numpy.save(file, numpy.ascontiguousarray(vectors.data, dtype="<f4"), allow_pickle=False)
        srsly.write_msgpack(target / "key2row", dict(vectors.key2row))
    return {"file": "vectors/vectors", "key2row": "vectors/key2row"}


def digest(vectors: Any) -> str:
    """Identifies the vectors: SHA-256 of rows, keys and settings. `t2v check` compares it with that of the current vectors."""
    import numpy

    rows = numpy.ascontiguousarray(vectors.data, dtype="<f4")
    keys = numpy.array(sorted(vectors.key2row.items()), dtype="<u8")
    mode = str(getattr(vectors.mode, "value", vectors.mode))
    settings = [mode, vectors.minn, vectors.maxn, vectors.hash_count, vectors.hash_seed, vectors.bow, vectors.eow]
    sum256 = hashlib.sha256(repr([rows.shape, *settings]).encode("utf8"))
    sum256.update(rows.data)
    sum256.update(keys.tobytes())
    return sum256.hexdigest()
