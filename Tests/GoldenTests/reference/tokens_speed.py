"""The speed of the real spaCy's tokenizer, in tokens per CPU second; JSON is decoded beforehand.

    taskset -c 1 .venvs/spacy-3.8/bin/python Tests/GoldenTests/reference/tokens_speed.py MODEL TEXTS.jsonl

Prints one JSON line for a fresh tokenizer and one for a second pass. Compare with `PreparationSpeed` on the same core.
"""

import json
import sys
import time

import spacy

nlp = spacy.load(sys.argv[1])
with open(sys.argv[2], encoding="utf8") as lines:
    texts = [json.loads(line)["text"] for line in lines]
for number in (1, 2):
    start = time.process_time()
    tokens = sum(len(doc) for doc in nlp.tokenizer.pipe(texts))
    seconds = time.process_time() - start
    print(json.dumps({"spacy": spacy.__version__, "pass": number, "tokens": tokens, "cpu_seconds": round(seconds, 3), "rate": round(tokens / seconds)}))
