"""Makes texts.jsonl, the demo's corpus, from the Debian package of The Debian Administrator's Handbook. Standard library only.

    apt-get download debian-handbook && dpkg-deb -x debian-handbook_*.deb handbook
    python3 demo/make_corpus.py handbook/usr/share/doc/debian-handbook/html/en-US demo/texts.jsonl
"""
import json
import sys
from html.parser import HTMLParser
from pathlib import Path

# Words of a document, counted at spaces: 20 to 400 tokens for spaCy's tokenizer.
LEAST, ENOUGH, MOST = 25, 60, 300
# Pages without prose.
LEFT_OUT = {"index.html", "ix01.html"}


class Paragraphs(HTMLParser):
    """Collects the text of every <div class="para">: prose, without titles, programs, menus and footnote marks."""

    def __init__(self):
        super().__init__()
        self.open = []  # (tag, is a paragraph, is to be left out)
        self.text = []  # one list of pieces for each open paragraph
        self.found = []

    def handle_starttag(self, tag, attributes):
        kind = dict(attributes).get("class") or ""
        if tag in ("br", "img", "hr", "meta", "link", "input", "col"):
            return
        paragraph = tag == "div" and kind == "para"
        left_out = tag in ("pre", "sup", "script", "style") or kind in ("docnav", "footnotes", "mediaobject", "indexterm")
        if paragraph:
            self.text.append([])
        self.open.append((tag, paragraph, left_out))

    def handle_endtag(self, tag):
        while self.open:
            opened, paragraph, _ = self.open.pop()
            if paragraph:
                self.found.append(" ".join("".join(self.text.pop()).split()))
            if opened == tag:
                return

    def handle_data(self, data):
        if self.text and not any(left_out for _, _, left_out in self.open):
            self.text[-1].append(data)


def is_prose(text):
    """A sentence or more of words, not a list of options or a path."""
    words = text.split()
    return len(words) >= 6 and text[0].isupper() and text[-1] in ".!?:;)" and sum(word.isalpha() for word in words) > len(words) / 2


def documents(paragraphs):
    """Joins neighbouring paragraphs of a page until a document is long enough."""
    gathered = []
    for paragraph in paragraphs:
        words = sum(len(text.split()) for text in gathered)
        if gathered and (words >= ENOUGH or words + len(paragraph.split()) > MOST):
            yield " ".join(gathered)
            gathered = []
        gathered.append(paragraph)
    if gathered:
        yield " ".join(gathered)


def main(folder, output):
    kept, seen = [], set()
    for page in sorted(folder.glob("*.html")):
        if page.name in LEFT_OUT:
            continue
        parser = Paragraphs()
        parser.feed(page.read_text(encoding="utf-8"))
        prose = [text for text in parser.found if is_prose(text) and text not in seen]
        seen.update(prose)
        kept += [text for text in documents(prose) if LEAST <= len(text.split()) <= MOST]
    with output.open("w", encoding="utf-8") as file:
        for text in kept:
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    print("%d documents, %d words, %d bytes" % (len(kept), sum(len(text.split()) for text in kept), output.stat().st_size))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
