"""Writes JSON lines of random hard texts for a model's language, for comparing tokenizers.

    .venvs/spacy-3.8/bin/python Tests/GoldenTests/reference/tokens_fuzz.py MODEL COUNT SEED OUTPUT

Pieces of exceptions, affixes, units, URLs, emoji, odd spaces and random code points, glued with and without spaces.
"""

import json
import random
import sys
import unicodedata

import spacy
from spacy.lang import char_classes as classes

SPACES = [" "] * 12 + ["  ", "   ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u0085", "\u3000", "\u2009", "\u2028", "\x1c", "\x1f", " \n", "\n ", "\u200b"]
ENDS = list(".,;:!?'\"()[]{}<>-_/\\*&%$#@+=~^`|") + ["...", "--", "''", "\u2019", "\u2018", "\u201c", "\u201d", "\u00ab", "\u00bb", "\u2026", "\u2013", "\u2014", "\u20ac", "\u00a3", "\u3002", "\u3001", "\u060c", "\u0964"]
WORDS = """don't can't it's he'll we'd I'm you're U.S.A. U.K. e.g. i.e. a.m. 10km 5kg 3.5mm 10% $5 US$10 20\u20ac 12:30 1,000.50 1/2 x=y co-op
well-known rock'n'roll O'Neil C++ C# .NET AT&T www.example.com http://a.b/c?d=e&f=g#h https://ex-ample.co.uk:8080/p/ x.com,y.com
me@mail.org @user #tag \u00e9t\u00e9 \u00c9T\u00c9 l'homme d'abord aujourd'hui qu'il j'ai va-t-il c'est-\u00e0-dire stra\u00dfe \u00dcBER \u0391\u03a3 \u03bf\u03b4\u03cc\u03c2 \u039f\u0394\u039f\u03a3 \u0130stanbul \u0131l\u0131k
\u01c5 \u01c4 \ufb01n \u1e9e \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u4e2d\u6587 \u65e5\u672c\u8a9e \ud55c\uad6d\uc5b4 \u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22 mark number X NORM _ __ DATE root <br /> <b> &amp; :) :-( ;) <3 xD ^_^ o_O
a.b A.B 3.a a,b a:b a;b a-b a--b a...b 'tis 'em ma'am y'all gonna Mr. Dr. St. Nov. No. p.m 1st 2nd 80s '90s -5 +5 1e5 \u00b12 x\u00b2 CO\u2082 \u00bd \u2167
hello:)world foo_bar FooBar camelCase 100km/h 5'10\" 10\u00b0C (a) [b] {c} "quoted" \u201cquoted\u201d \u00abguillemets\u00bb 'single' end. end.) end.\" end.' LONG.SENTENCE.Here it.It""".split()
EMOJI = ["\U0001f600", "\U0001f44d\U0001f3fd", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2764\ufe0f", "\U0001f1eb\U0001f1f7", "e\u0301", "\u0301", "\u200d", "\ufeff", "\u00ad"]
ALPHABET = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]


def piece(rng, rules):
    kind = rng.random()
    if kind < 0.3:
        return rng.choice(WORDS)
    if kind < 0.5 and rules:
        text = rng.choice(rules)
        style = rng.random()
        if style < 0.1:
            text = text.upper()
        elif style < 0.2:
            text = text.title()
        elif style < 0.3:
            text = text[: rng.randint(1, len(text))]
        return text
    if kind < 0.75:
        return rng.choice(ENDS)
    if kind < 0.8:
        return rng.choice(EMOJI)
    if kind < 0.86:
        return "".join(rng.choice("abcxyzABCXYZ0123456789") for _ in range(rng.randint(1, 5)))
    if kind < 0.9:
        return "".join(chr(rng.randint(0xa0, 0x52f)) for _ in range(rng.randint(1, 3)))
    if kind < 0.95:
        return "".join(rng.choice(ALPHABET) for _ in range(rng.randint(1, 2)))
    if kind < 0.98:
        return rng.choice("abcdefghijklmnopqrstuvwxyz.-'") * rng.randint(1, 8)
    return rng.choice(["x" * 99, "x" * 100, "-" * 30, "." * 12, "a." * 10, "'" * 5])


def text(rng, rules):
    parts = []
    for _ in range(rng.randint(1, 30)):
        parts.append("".join(piece(rng, rules) for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 4]))))
        parts.append(rng.choice(SPACES))
    if rng.random() < 0.7:
        parts.pop()
    if rng.random() < 0.1:
        parts.insert(0, rng.choice(SPACES))
    return "".join(parts)


def main():
    model, count, seed, target = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    nlp = spacy.load(model)
    rules = sorted(getattr(nlp.tokenizer, "rules", None) or getattr(nlp.Defaults, "tokenizer_exceptions", None) or {})
    # the building blocks of the languages' patterns, as often as the exceptions
    parts = [c for text in (classes.UNITS, classes.CURRENCY, classes.HYPHENS, classes.PUNCT) for c in text.replace("\\", "").split("|") if c]
    rules += parts * (1 + len(rules) // len(parts))
    rng = random.Random(seed)
    with open(target, "w", encoding="utf8") as out:
        for index in range(count):
            line = text(rng, rules)
            record = {"tokens": line.split()} if index % 50 == 49 and line.split() else {"text": line}
            out.write(json.dumps(record, ensure_ascii=bool(index % 2)) + "\n")


if __name__ == "__main__":
    main()
