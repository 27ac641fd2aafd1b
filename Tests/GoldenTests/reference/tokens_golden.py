"""Makes the committed golden files of the tokenizer: small models of real spaCy versions, and what they make of hard texts.

    .venvs/spacy-2.1.9/bin/python Tests/GoldenTests/reference/tokens_golden.py
    .venvs/spacy-2.3.9/bin/python Tests/GoldenTests/reference/tokens_golden.py
    .venvs/spacy-3.8/bin/python Tests/GoldenTests/reference/tokens_golden.py

Writes Tests/GoldenTests/data/tokens_texts.jsonl (the same from each) and, for every language, tokens_VERSION_LANGUAGE/ with the model's files
and golden.txt, all gzipped.
"""

import gzip
import json
import pathlib
import shutil
import sys
import tempfile
import warnings

warnings.simplefilter("ignore")

import spacy

import tokens_features
import tokens_fuzz
import tokens_models

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
LANGUAGES = {"2.1": ["en"], "2.3": ["en", "fr", "hu", "hi"], "3.8": ["en", "fr", "hu", "ht"]}
FILES = ["meta.json", "tokenizer", "vocab/key2row", "vocab/lookups.bin", "vocab/lexemes.bin", "vocab/strings.json", "vocab/vectors", "vocab/vectors.cfg"]

HARD = [
    "See https://user:pw@sub.example.co.uk:8080/path/a_b?q=1&r=%20#frag, or www.x.org/. http://127.0.0.1/ ftp://a.b me.name+tag@mail.example.com!",
    "x.com,y.com (http://a.b/c) <http://d.e> http://\u00fcn\u00efc\u00f6de.com/\u4e2d http://no-tld foo.bar.baz a.b 192.168.0.1 10.0.0.1:80 localhost:8080",
    "\U0001f600\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f44d\U0001f3fd! \u2764\ufe0f \u2764 \U0001f1eb\U0001f1f7\U0001f1e9\U0001f1ea ok\U0001f44cok \U0001f3f4\U000e0067\U000e0062\U000e007f",
    "e\u0301te\u0301 \u00e9t\u00e9 n\u0303 a\u0308\u0323 \u0301alone Z\u0351\u036b\u0343algo \u1e9b\u0323 \ufb01n \u212b \u212a \u00c5",
    "\u4e2d\u6587\u6d4b\u8bd5\u3002\u300c\u5f15\u53f7\u300d\uff0c\u5168\u89d2\uff01\uff1f \u65e5\u672c\u8a9e\u30c6\u30b9\u30c8 \ud55c\uad6d\uc5b4 \ud55c\uad6d\uc5b4. \uff21\uff22\uff43 \uff11\uff12 \u3007 \u4e00\u4e8c",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd, \u05e6\u05d4\"\u05dc \u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd. \u0645\u0631\u062d\u0628\u0627\u060c \u0643\u064a\u0641 \u062d\u0627\u0644\u0643\u061f \u0661\u0662\u0663 \u200f\u05d0\u200e \u202babc\u202c",
    "\"Double\" 'single' \u201ccurly\u201d \u2018inner\u2019 \u00abguillemets\u00bb \u2039a\u203a \u201elow\u201c \u201alow\u2018 ''two'' ``ticks'' \u00b4acute\u00b4 'tis 'em dogs' '90s rock 'n' roll \"end.\" (\"x\") 5'10\"",
    "I don't, can't, won't, shan't; it's he'd they've I'm we're who'll y'all ma'am o'clock DON'T Don\u2019t CAN\u2019T I\u2019m couldn't've dont cannot gonna Let's let\u2019s",
    "10km 5kg 3.5mm 100km/h 20\u20ac \u20ac20 $5.50 US$10 10% 12:30pm 7a.m. 1,000,000.50 1/2 x\u00b2 CO\u2082 10\u00b0C 5\u00b5m \u00bd \u2167 3rd 80s 1e-5 -5 +5 \u00b12 ~3 5-6 2019-2020 v2.0.1 #1 No.5",
    "a  b   c    d\n\ne\t\tf \n g\r\nh \u00a0i\u00a0j\u0085k\u3000l\u2028m\u2029n\x1co\x1fp\u200bq \x0b\x0cr",
    "  leading and trailing  ",
    "   ",
    "\n",
    "a\n",
    "word. \n",
    " \u00a0 \u2003",
    "<br /><br />Great! <b>bold</b> &amp; &lt;x&gt; <a href=\"u\">v</a> {x:1} [1] *emph* _under_ __dunder__ `code` ~~s~~ | a|b \\n $x$",
    "\u01c5 \u01c8 \u01c4 \u01f2 \u1f88 \u1fbc titlecase; \u00aa \u00ba \u02b0 \u2071 \u24b6 \u2160 \U0001d400 \U00010400 \U0001e900",
    "\u03a3 \u03a3\u03a3 \u0391\u03a3 \u0391\u03a3. \u0391\u03a3\u0301 \u0391\u0301\u03a3 \u03a3\u0391 \u0391\u03a3\u0391 \u0391\u03a3\u2019\u0391 \u0391:\u03a3 1\u03a3 \u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 A\u03a3\u00adB a\u03a3\u200d",
    "\u0130stanbul I\u0130 \u0131l\u0131k DI\u015e \u0130\u0307 \u1e9e STRASSE stra\u00dfe \u212aelvin \u017fet \u0345 \u03f4",
    "mark NORM number X DATE root num det poss prep agent punct _ __ IS_OOV ENT_ID MORPH IDX DEPRECATED001 Animacy_anim 0 PERSON ORTH",
    "MORPH\u2019s X-ray X's x X. _X_ (X) LANG:en root/num det, poss. agent! TIME? LOC;",
    "U.S.A. U.K., e.g., i.e. etc. Mr. Dr. St. a.m. p.m. Ph.D. Jr. vs. Nov. No. 5th Inc. Corp. J.R.R. A.B C.D. e.g.: (i.e.) Jan.",
    "co-op well-known -dash dash- --double --- \u2014em\u2014dash\u2014 \u2013 en\u2013dash a--b a-b-c O'Neil-Smith non-U.S. ex-U.K. anti-\"x\" re-\u00e9crire",
    "...what....ever.. \u2026 \u2026\u2026 wait... (...) end.... !!! ?!? ?!?! .,;: .. . ,, ;; :: -:- ).,( \"'\"",
    "hi:) :) :-) ;-( :D xD <3 </3 ^_^ o_O (: :(hi :)) (:)) =) 8-) \u00af\\(\u30c4)/\u00af :'( >:( :-p :/ http://a:) =D. :3",
    "foo : ) bar : - ) : ) ) a. m. 8 a.m. at 8a.m. 8am 12p.m, (8p.m.)",
    "he's(she's) \"don't\" (can't) [won't]. ...isn't... -I'm- 'cause 'cos 'nuff o' ol' Ma'am. 'S 's 's. \u2019s",
    "end.Start a.B A.b 3.a a,b a;b a:b a!b a?b a/b a\\b a=b a+b a*b a^b a&b a|b a@b a#b a%b a~b a_b (a)b [a]b {a}b <a>b",
    "l'homme d'abord aujourd'hui qu'il j'ai c'est-\u00e0-dire va-t-il L\u2019\u00c9t\u00e9 presqu'\u00eele quelqu\u2019un entr'ouvert grand'm\u00e8re a-t-elle dis-moi M. Mme. n\u00b05 1er 2\u00e8me",
    "rendez-vous porte-monnaie Saint-\u00c9tienne sous-marin anti-inflammatoire \u00e9lectro-acoustique tiers-monde Aix-en-Provence 18h30 \u00ab \u00e0 propos \u00bb",
    "2020. m\u00e1rcius 15-\u00e9n a 3.-ban 10%-os \u00e9s az 50-60 k\u00f6z\u00f6tt, 12:30-kor. pl. stb. 1,5 km\u00b2-es 100Ft-ot II. XIV.-ben www.a.hu-r\u00f3l -val $-ban +36-20/123 3-4-5",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902 \u0932\u093f\u0916\u093e\u0964 \u0932\u0921\u093c\u0915\u093f\u092f\u093e\u0901 \u091c\u093e\u090a\u0902\u0917\u093e \u0915\u0930\u0924\u0947 \u0939\u0948\u0902\u0965 \u0967\u0968\u0969 \u0930\u0941. \u20b95",
    "M'ap w'ap l'ap yo'n m n l y w t k p M N \u2019m n\u2019ap 3y\u00e8m Ki jan ou ye?",
    "colour Colour COLOUR favourite Aeroplane ageing cos Cos 'em thx gonna Gonna \u20ac \u00a3 \u2014 \u2013 -- --- \u2026 \u201c \u201d \u2018\u2018 US$ A$ E\u00a3 \u0964 \uff01",
    "x" * 99 + " " + "x" * 100 + " " + "X" * 101 + " " + "-" * 40 + " " + "ab12" * 30 + " " + "\u00e9" * 99 + " " + "\u00e9" * 100,
    "aaaaa AAAAA 11111 ..... aaaa1111 AbAbAbAb aAaAaA 1a1a1a ---a--- '''' \u4e2d\u4e2d\u4e2d\u4e2d\u4e2d\u4e2d",
    "\u0000nul \u0001 \u0007 \u001b[0m \u007f \u0080 \u009f \ufeffbom \ufffd \uffff \U0010ffff \u200c\u200d \u2060 \u00ad soft\u00adhyphen \ue000",
    "[MASK] [mask] (SK] <unk> </s> [PAD]",
    "(:): hi(:):x (:)) :):( ):( \u00b0C. \u00b0F. -\u00b0c. 10\u00b0C. (\u00b0K.) \u00a7A. #B. \u00b0C.) \u00a9AB. \u3002\u00d6. \uff0c\u00c9. (\u00d6.) \u300c\u00d6.",
    "In Paris PARIS, colour Colour, 5\u20ac mark Mark _ a _ don't n't",
]
TOKENS = [
    ["don't", "n't", "I'm", "New York", " ", "\n", "a.m.", ":)", "\u0391\u03a3", "X", "_", "MORPH", "[MASK]"],
    ["'s", "\u2019s", "\u20ac", "colour", "mark", "x" * 100, "\U0001f468\u200d\U0001f469", "e\u0301"],
]


def texts():
    records = [{"text": text} for text in HARD] + [{"tokens": tokens} for tokens in TOKENS]
    rng = tokens_fuzz.random.Random(42)
    # the alphabet is fixed, so that every Python makes the same file
    tokens_fuzz.ALPHABET = [chr(c) for c in (list(range(0x21, 0x250)) + list(range(0x370, 0x600)) + list(range(0x2000, 0x2c00)) + list(range(0x3000, 0x3100)))]
    records += [{"text": tokens_fuzz.text(rng, ["can't", "a.m.", ":)", "d'abord", "pl.", "U.S."])} for _ in range(150)]
    return [json.dumps(record) for record in records]


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=9, filename="", mtime=0) as packed:
        packed.write(data)


def main():
    version = ".".join(spacy.__version__.split(".")[:2])
    lines = texts()
    (DATA / "tokens_texts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf8")
    for language in LANGUAGES[version]:
        target = DATA / ("tokens_%s_%s" % (version, language))
        shutil.rmtree(str(target), ignore_errors=True)
        with tempfile.TemporaryDirectory() as folder:
            tokens_models.make(language, folder)
            nlp = tokens_features.load(folder)
            golden = "".join(tokens_features.features(nlp, json.loads(line)) + "\n" for line in lines)
            write(target / "golden.txt.gz", golden.encode("utf8"))
            for name in FILES:
                path = pathlib.Path(folder) / name
                if path.exists():
                    write(target / (name + ".gz"), path.read_bytes())
        print(target.name, sum(f.stat().st_size for f in target.rglob("*") if f.is_file()), "bytes")


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    main()
