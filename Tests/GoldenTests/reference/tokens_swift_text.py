"""Writes generated Swift files: shared by the tokens_*_tables.py scripts. Nothing here needs spaCy."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[3]
FEATURES = ROOT / "Sources" / "Core" / "Text" / "Features"
SHARDS = ROOT / "Sources" / "Core" / "Shards"
WIDTH = 136


def escape(text):
    return text.replace("\\", "\\\\").replace('"""', '\\"""')


def literal(name, words, separator, comment):
    """A multi-line string constant that joins `words`; each source line but the last ends in a continuation backslash."""
    lines, line = [], ""
    for index, word in enumerate(words):
        piece = escape(word) + (separator if index + 1 < len(words) else "")
        if line and len(line) + len(piece) > WIDTH - 10:
            lines.append(line)
            line = ""
        line += piece
    lines.append(line)
    # editors would strip a blank at a line's end, so it is written as an escape
    body = "\\\n".join("        " + (l[:-1] + "\\u{20}" if l.endswith(" ") else l) for l in lines)
    return f'    /// {comment}\n    static let {name} = """\n{body}\n        """\n'


def pairs(name, items, comment):
    """A constant of `word=norm` entries between vertical bars."""
    words = [f"{word}={norm}" for word, norm in items]
    assert not any("|" in word or word.count("=") != 1 for word in words)
    return literal(name, words, "|", comment)


def write(file, flow, type_name, doc, parts, folder=FEATURES):
    text = f"{flow}\n\n/// {doc}\nenum {type_name} {{\n" + "\n".join(parts) + "}\n"
    (folder / file).write_text(text, encoding="utf8")
    print(f"{file}: {text.count(chr(10))} lines, {len(text.encode())} bytes")
