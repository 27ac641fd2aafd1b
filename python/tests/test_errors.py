"""Mistakes that users make, each with its config: one sentence that says where the mistake is and what to do."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import BASE, HERE, MODEL

from t2v.errors import InputError
from t2v.pretrain import first_epoch

VECTORS_OBJECTIVE = {"@architectures": "spacy.PretrainVectors.v1", "maxout_pieces": 2, "hidden_size": 12, "loss": "cosine"}
WARMUP = {"@schedules": "warmup_linear.v1", "initial_rate": 0.1, "warmup_steps": 2, "total_steps": 4}
COMPOUNDING = {"@schedules": "compounding.v1", "start": 100, "stop": 1000, "compound": 1.001}
SEQUENCES = {"@batchers": "spacy.batch_by_sequence.v1", "size": 10, "get_length": None}
ENCODE = {"@architectures": "spacy.MaxoutWindowEncoder.v2", "width": 16, "maxout_pieces": 3, "depth": 2, "window_size": 2}

BILSTM = {"@architectures": "spacy.TorchBiLSTMEncoder.v1", "width": 16, "depth": 1, "dropout": 0.0}
LOOKUPS = {"@misc": "spacy.LookupsDataLoader.v1", "tables": ["lexeme_norm"]}

MISTAKES: list[Any] = [
    # what goes wrong in `spacy pretrain`
    pytest.param({"paths.raw_text": None}, ["[corpora.pretrain]", "path is null", "--paths.raw_text"], id="no raw text"),
    pytest.param({"paths.raw_text": "nowhere.jsonl"}, ["no such file: nowhere.jsonl"], id="raw text is missing"),
    pytest.param({"pretraining.component": "tagger"}, ['"tagger" is not in the pipeline', 'component = "tok2vec"'], id="component"),
    pytest.param({"pretraining.component": None}, ["component is null", 'component = "tok2vec"'], id="component is null"),
    pytest.param({"pretraining.layer": "tok2vec"}, ["no such layer"], id="layer"),
    pytest.param({"pretraining.objective": VECTORS_OBJECTIVE}, ["[pretraining.objective]", "--paths.vectors"], id="no vectors to predict"),
    pytest.param(
        {"pretraining.objective": {**VECTORS_OBJECTIVE, "loss": "l2"}, "paths.vectors": "VECTORS"}, ['"cosine" or "L2"'], id="loss"
    ),
    pytest.param({f"{MODEL}.embed.include_static_vectors": True}, ["static vectors", "--paths.vectors"], id="no static vectors"),
    pytest.param({"paths.vectors": "VECTORS", "nlp.lang": "de"}, ["E150", "language of [nlp]"], id="vectors of another language"),
    pytest.param(
        {"paths.vectors": "nowhere"}, ["[initialize]", '"nowhere"', "neither a folder nor an installed", "download nowhere"], id="vectors"
    ),
    pytest.param({"paths.vectors": "/no/where"}, ["neither a folder nor an installed package; give an existing folder"], id="no folder"),
    pytest.param({"pretraining.max_epoch": 2}, ['no key "max_epoch"', 'did you mean "max_epochs"?'], id="unknown key"),
    pytest.param({"pretraining.corpus": "corpora.raw"}, ["[corpora.raw]", "does not exist"], id="corpus"),
    # what t2v does not have
    pytest.param({"pretraining.batcher.size": COMPOUNDING}, ["[pretraining.batcher]", "size is a schedule"], id="batch size schedule"),
    pytest.param({"pretraining.batcher": SEQUENCES}, ["spacy.batch_by_words.v1"], id="batcher"),
    pytest.param({"pretraining.optimizer": {"@optimizers": "RAdam.v1"}}, ["RAdam", "Adam.v1"], id="RAdam"),
    pytest.param({"pretraining.optimizer": {"@optimizers": "SGD.v1", "learn_rate": 0.1}}, ["SGD", "Adam.v1"], id="SGD"),
    pytest.param({"pretraining.optimizer.L2": WARMUP}, ["L2 is a schedule"], id="schedule of L2"),
    pytest.param({f"{MODEL}.encode": ENCODE}, ["[components.tok2vec.model.encode]", "window_size is 2"], id="window"),
    pytest.param({f"{MODEL}.embed.attrs": ["NORM", "PREFIX", "SUFFIX", "MORPH"]}, ["MORPH", "annotated"], id="annotation"),
    pytest.param({f"{MODEL}.embed.attrs": ["NORM", "PREFIX", "SUFFIX", "IDX"]}, ["IDX"], id="IDX"),
    pytest.param({f"{MODEL}.embed.attrs": ["NORM", "PREFIX", "SUFFIX", "NORMS"]}, ["NORMS"], id="no attribute"),
    pytest.param({f"{MODEL}.embed.@architectures": "nobodys.Embed.v1"}, ["nobodys.Embed.v1", "--code"], id="no function"),
    pytest.param({"pretraining.dropout": 1.0}, ["dropout"], id="dropout"),
    pytest.param({"pretraining.max_epochs": 0}, ["max_epochs = 0"], id="no epochs"),
    pytest.param({f"{MODEL}.encode": BILSTM}, ["PyTorch", "spacy.MaxoutWindowEncoder.v2"], id="BiLSTM"),
    pytest.param({f"{MODEL}.encode.heads": 3}, ["heads", "unexpected argument"], id="unknown argument"),
    pytest.param({"pretraining.optimizer.learn_rate": -0.001}, ["learn_rate = -0.001", "0 or more"], id="learn rate"),
    pytest.param({"pretraining.objective.n_characters": 0}, ["[pretraining.objective]", "n_characters"], id="no characters"),
    pytest.param({"corpora.pretrain.min_length": 500}, ["[corpora.pretrain]", "none is left", "min_length"], id="lengths"),
    pytest.param(
        {"nlp.pipeline": ["tok2vec", "transformer"], "components.transformer": {"factory": "transformer"}}, ["E002"], id="factory"
    ),
    pytest.param({"pretraining.dropout": "0.2 # much"}, ["dropout", "valid number", "correct it"], id="inline comment"),
    pytest.param({"initialize.lookups": {**LOOKUPS, "lang": "tr"}}, ["E955", "spacy-lookups-data"], id="no table of norms"),
    # the section [t2v]
    pytest.param({"t2v.lane": 4}, ['no key "lane"', 'did you mean "lanes"?'], id="t2v: unknown key"),
    pytest.param({"t2v.lanes": "four"}, ["[t2v]", "lanes", "int"], id="t2v: type"),
    pytest.param({"t2v.mask_prob": 1.5}, ["mask_prob = 1.5", "0 to 1"], id="t2v: range"),
    pytest.param({"t2v.precision": "float16"}, ['"float32" or "bf16"'], id="t2v: choice"),
    pytest.param({"t2v.held_out": 0, "t2v.patience": 3}, ["patience = 3", "held_out is 0", "leave out"], id="t2v: nothing to judge"),
    pytest.param({"t2v.workers": 4}, ["belongs to a machine", "--workers"], id="t2v: machine"),
]


@pytest.mark.parametrize(("overrides", "words"), MISTAKES)
def test_mistake(compiled: Callable[..., Any], tmp_path: Path, vectors: Path, overrides: dict[str, Any], words: list[str]) -> None:
    given = {name: str(vectors) if value == "VECTORS" else value for name, value in overrides.items()}
    with pytest.raises(InputError) as error:
        compiled(given)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"edited"}, "a refused job leaves nothing behind"


def test_no_pretraining_block(compiled: Callable[..., Any], tmp_path: Path) -> None:
    text = BASE.read_text()
    (tmp_path / "config.cfg").write_text(text[: text.index("[pretraining]")])
    with pytest.raises(InputError, match="no \\[pretraining\\] block.*init fill-config --pretraining"):
        compiled(config=tmp_path / "config.cfg")


def test_byte_order_mark(compiled: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "config.cfg").write_text("\ufeff" + BASE.read_text())
    with pytest.raises(InputError, match="byte order mark"):
        compiled(config=tmp_path / "config.cfg")


def test_users_objective(compiled: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"\[pretraining.objective\]: the objective is not one of spaCy's .*PretrainCharacters"):
        compiled({"pretraining.objective": {"@architectures": "my.Objective.v1"}}, code=HERE / "user_code.py")


def test_tokenizer_that_fails(compiled: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"\[nlp.tokenizer\]: spaCy could not tokenize a text: AttributeError"):
        compiled({"initialize.after_init": {"@callbacks": "my.change.v1", "what": "tokenizer"}}, code=HERE / "user_code.py")


def test_missing_key(compiled: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "config.cfg").write_text(BASE.read_text().replace("n_save_epoch = null\n", ""))
    with pytest.raises(InputError, match="n_save_epoch.*fill-config"):
        compiled(config=tmp_path / "config.cfg")


@pytest.mark.parametrize(("name", "remedy"), [("raw.txt", "spacy.PlainTextCorpus.v1"), ("raw.json", "rename it to raw.jsonl")])
def test_texts_of_another_kind(compiled: Callable[..., Any], tmp_path: Path, name: str, remedy: str) -> None:
    (tmp_path / name).write_text('{"text": "Some words."}\n')
    with pytest.raises(InputError, match=remedy):
        compiled({"paths.raw_text": str(tmp_path / name)})


def test_folder_without_texts(compiled: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/.hidden.jsonl").write_text('{"text": "Some words."}\n')
    with pytest.raises(InputError, match="no file in .*texts ends in .jsonl"):
        compiled({"paths.raw_text": str(tmp_path / "texts")})


def test_empty_texts(compiled: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "raw.jsonl").write_text("")
    with pytest.raises(InputError, match="is empty"):
        compiled({"paths.raw_text": str(tmp_path / "raw.jsonl")})


PARSER = """[components.ner]
factory = "ner"

[components.ner.model]
@architectures = "spacy.TransitionBasedParser.v2"
state_type = "ner"
extra_state_tokens = false
hidden_width = 16
maxout_pieces = 2
use_upper = true
nO = null

[components.ner.model.tok2vec]"""


@pytest.mark.parametrize(("factory", "layer"), [("ner", ""), ("ner", "tok2vec"), ("parser", "tok2vec")])
def test_parsers_with_a_layer_of_their_own(compiled: Callable[..., Any], tmp_path: Path, factory: str, layer: str) -> None:
    text = BASE.read_text().replace('pipeline = ["tok2vec"]', 'pipeline = ["ner"]')
    text = text.replace('[components.tok2vec]\nfactory = "tok2vec"\n\n[components.tok2vec.model]', PARSER)
    text = text.replace("components.tok2vec.model", "components.ner.model.tok2vec")
    text = text.replace('component = "tok2vec"', 'component = "ner"')
    text = text.replace('"ner"', f'"{factory}"').replace("components.ner", f"components.{factory}")
    (tmp_path / "config.cfg").write_text(text)
    with pytest.raises(InputError, match=f'component = "{factory}" with layer = "|not a tok2vec layer'):
        compiled({"pretraining.layer": layer}, config=tmp_path / "config.cfg")


BROKEN = [
    ("max_epochs = 2", "max_epochs = 2\nmax_epochs = 3", "option 'max_epochs' in section 'pretraining' already exists"),
    ("[training.optimizer]", "[training]\n\n[training.optimizer]", "section 'training' already exists"),
    ("path = ${paths.raw_text}", "path = ${paths.nothing}", "interpolation key 'paths.nothing'"),
    ("[nlp]\n", "[nlps]\n", "'nlp' is not defined"),
    ("[paths]\n", "x = 1\n[paths]\n", "no section headers"),
]


@pytest.mark.parametrize(("old", "new", "words"), BROKEN)
def test_what_is_no_config(compiled: Callable[..., Any], tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "config.cfg"
    path.write_text(BASE.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=words) as error:
        compiled(config=path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value).replace("\\n", "")


def test_standard_input_is_no_config(compiled: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="-: there is no such file"):
        compiled(config=Path("-"))


@pytest.mark.parametrize("goal", ["efficiency", "accuracy"])
def test_text_classifier_as_spacy_configures_it(
    compiled: Callable[..., Any], tmp_path: Path, spacy_command: Callable[..., Any], goal: str
) -> None:
    """`init config` gives a text classifier with "efficiency" no tok2vec layer at all (E001 in spaCy)."""
    done = spacy_command("init", "config", str(tmp_path / "textcat.cfg"), "-p", "textcat", "-o", goal, "-pt")
    assert done.returncode == 0, done.stderr
    if goal == "efficiency":
        with pytest.raises(InputError, match='component = "tok2vec" is not in the pipeline .*add a component with a tok2vec layer'):
            compiled(config=tmp_path / "textcat.cfg")
    else:
        with pytest.raises(InputError, match='no vectors "en_core_web_lg"'):
            compiled(config=tmp_path / "textcat.cfg")


@pytest.mark.parametrize(("name", "given", "epoch"), [("model3.bin", None, 4), ("model3.bin", 9, 9), ("weights.bin", 0, 0)])
def test_epoch_of_weights(name: str, given: int, epoch: int) -> None:
    assert first_epoch(Path(name), given) == epoch


def test_epoch_of_weights_is_not_guessed() -> None:
    with pytest.raises(InputError, match="not called modelN.bin.*--epoch-resume"):
        first_epoch(Path("model-last.bin"), None)
    with pytest.raises(InputError, match="--epoch-resume is -1"):
        first_epoch(Path("model1.bin"), -1)


# What spaCy stumbles over, and t2v does as the user intended.


def test_compressed_texts(compiled: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"text": "Some words that are not many."}).encode()))
    assert compiled({"paths.raw_text": str(path)})["text"]["sources"] == [str(path)]


@pytest.mark.parametrize("attribute", ["SUFFIX", "LIKE_NUM"])
def test_records_of_tokens_and_texts_of_a_million_characters(compiled: Callable[..., Any], tmp_path: Path, attribute: str) -> None:
    """KeyError and E088 in spaCy. Here tokens are accepted, and the long text is judged by its number of tokens, on both paths."""
    records = [{"tokens": ["Some", "words", "that", "are", "tokens", "."]}, {"text": "many words " * 100_000}]
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    attributes = ["NORM", "PREFIX", attribute, "SHAPE"]
    text = compiled({"paths.raw_text": str(tmp_path / "raw.jsonl"), f"{MODEL}.embed.attrs": attributes})["text"]
    assert text["path"] == ("fast" if attribute == "SUFFIX" else "pieces")
    if text["path"] == "pieces":
        assert (text["documents"], text["tokens"]) == (1, 6)


def test_folder_of_texts_in_order(compiled: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    (folder / "b").mkdir(parents=True)
    for name in ("b/c.jsonl", "a.jsonl", "notes.txt", ".a.jsonl"):
        (folder / name).write_text('{"text": "Some words that are not many."}\n')
    assert compiled({"paths.raw_text": str(folder)})["text"]["sources"] == [str(folder / "a.jsonl"), str(folder / "b/c.jsonl")]


def test_plain_texts_keep_max_length_itself(compiled: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "raw.txt").write_text("Some words that are not many.\n")
    reader = {"@readers": "spacy.PlainTextCorpus.v1", "path": str(tmp_path / "raw.txt"), "min_length": 2, "max_length": 50}
    job = compiled({"corpora.pretrain": reader})
    assert job["text"]["format"] == "lines"
    assert (job["training"]["min_length"], job["training"]["max_length"]) == (2, 51)


def test_no_averages(compiled: Callable[..., Any]) -> None:
    assert compiled({"pretraining.optimizer.use_averages": False})["model"]["optimizer"]["averages"] is False


def test_learn_rate_schedule(compiled: Callable[..., Any]) -> None:
    rate = compiled({"pretraining.optimizer.learn_rate": WARMUP})["model"]["optimizer"]["learn_rate"]
    assert rate == {"values": [0.0, 0.05, 0.1, 0.05], "rest": 0.0}


def test_discarded_documents(compiled: Callable[..., Any]) -> None:
    assert compiled({"pretraining.batcher.discard_oversize": True})["training"]["max_length"] == 121


def test_settings_without_the_section(compiled: Callable[..., Any], tmp_path: Path) -> None:
    job = compiled({"t2v.lanes": 3, "t2v.mask_prob": 0.2, "t2v.characters_loss": "softmax", "t2v.shuffle": False})
    assert (job["training"]["lanes"], job["training"]["shuffle"]) == (3, False)
    assert (job["model"]["mask_probability"], job["model"]["objective"]["loss"]) == (0.2, "softmax")
    assert "[t2v]" in (tmp_path / "job/config.cfg").read_text()
