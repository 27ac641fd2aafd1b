// Documents that Python has tokenized. In: the bytes of one piece. Out: its arrays, every field checked.
import Base

/// A self-contained run of documents, as the Python front end writes it where only spaCy itself can tokenize or compute the attributes.
///
/// All little-endian. A header of 8 words of 8 bytes: magic "T2VPIEC1", the piece's bytes with the header (a multiple of 8), documents D,
/// tokens N, distinct words W, columns C, the number of its first document in the corpus (from 0), bytes B of the words' texts. Then
/// arrays, each padded with zeros to a multiple of 8 bytes: lengths UInt32[D] (tokens of each document, 1 or more), ids UInt64[C][W]
/// (spaCy's number of each attribute), text offsets UInt32[W + 1], text UInt8[B] (UTF-8), tokens UInt32[N] (a distinct word; `spaceBit` is
/// set if a space follows).
package struct Piece {
    static let magic: UInt64 = 0x3143_4549_5056_3254  // "T2VPIEC1"
    static let headerWords = 8
    /// Set in a token that a space follows.
    package static let spaceBit: UInt32 = 1 << 31

    /// The header's figures, checked against each other.
    struct Header: Equatable {
        var byteCount, documents, tokens, words, columns, textBytes: Int
        var firstDocument: UInt64

        /// - Parameter bytes: from the header on; there may be more or fewer than the piece has.
        /// - Throws: `InputError` when they are not a header, or its figures do not fit together.
        init(_ bytes: UnsafeRawBufferPointer, place: String) throws(InputError) {
            guard bytes.count >= 8 * Piece.headerWords else { throw Piece.damaged("it ends in the middle of a header", place) }
            let words = (0..<Piece.headerWords).map { UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * $0, as: UInt64.self)) }
            guard words[0] == Piece.magic else { throw Piece.damaged("a piece begins with \"T2VPIEC1\", this does not", place) }
            // Every count below 2^31: no sum of array sizes can overflow.
            guard words[1] < 1 << 40, [2, 3, 4, 5, 7].allSatisfy({ words[$0] < 1 << 31 }), words[5] < 1 << 10, words[6] < 1 << 62 else {
                throw Piece.damaged("a figure of its header is out of range", place)
            }
            (byteCount, documents, tokens) = (Int(words[1]), Int(words[2]), Int(words[3]))
            (self.words, columns, firstDocument, textBytes) = (Int(words[4]), Int(words[5]), words[6], Int(words[7]))
            guard byteCount == offsets.end else {
                throw Piece.damaged("its header announces \(byteCount) bytes, its arrays take \(offsets.end)", place)
            }
        }

        /// First bytes of lengths, ids, text offsets, texts, tokens; and the end.
        var offsets: (lengths: Int, ids: Int, places: Int, text: Int, tokens: Int, end: Int) {
            func aligned(_ count: Int) -> Int { (count + 7) & ~7 }
            let lengths = 8 * Piece.headerWords
            let ids = lengths + aligned(4 * documents)
            let places = ids + 8 * words * columns
            let text = places + aligned(4 * (words + 1))
            let tokens = text + aligned(textBytes)
            return (lengths, ids, places, text, tokens, tokens + aligned(4 * self.tokens))
        }
    }

    private let bytes: UnsafeRawBufferPointer
    private let offsets: (lengths: Int, ids: Int, places: Int, text: Int, tokens: Int, end: Int)
    package let documentCount, tokenCount, wordCount, columnCount: Int
    /// Number of the first document in the corpus.
    package let firstDocument: UInt64
    /// Bytes of the piece; what follows in `bytes` does not belong to it.
    package let byteCount: Int

    /// Reads the piece that `bytes` begin with; the caller keeps them alive.
    /// - Parameter columns: how many attributes the job has.
    /// - Throws: `InputError` that says what is wrong; nothing in the bytes is trusted.
    package init(_ bytes: UnsafeRawBufferPointer, columns: Int, place: String) throws(InputError) {
        let header = try Header(bytes, place: place)
        guard header.columns == columns else {
            throw Self.damaged("it has \(header.columns) columns, the job has \(columns)", place)
        }
        guard header.byteCount <= bytes.count else {
            throw Self.damaged("it announces \(header.byteCount) bytes, \(bytes.count) are there", place)
        }
        self.bytes = bytes
        offsets = header.offsets
        (documentCount, tokenCount, wordCount, columnCount) = (header.documents, header.tokens, header.words, header.columns)
        (firstDocument, byteCount) = (header.firstDocument, header.byteCount)
        try checkDocuments(place)
        try checkTexts(header.textBytes, place)
        for index in 0..<tokenCount where Int(token(index) & ~Self.spaceBit) >= wordCount {
            throw Self.damaged("token \(index) is word \(token(index) & ~Self.spaceBit) of \(wordCount)", place)
        }
    }

    private func checkDocuments(_ place: String) throws(InputError) {
        var total = 0
        for index in 0..<documentCount {
            guard length(index) > 0 else { throw Self.damaged("document \(index) has no tokens", place) }
            total += length(index)
        }
        guard total == tokenCount else { throw Self.damaged("its documents have \(total) tokens, its header says \(tokenCount)", place) }
    }

    private func checkTexts(_ count: Int, _ place: String) throws(InputError) {
        guard textOffset(0) == 0, textOffset(wordCount) == count else { throw Self.damaged("its texts do not cover their bytes", place) }
        for index in 0..<wordCount {
            guard textOffset(index) < textOffset(index + 1), textOffset(index + 1) <= count else {
                throw Self.damaged("word \(index) has no text", place)
            }
            guard String(validating: text(index), as: UTF8.self) != nil else {
                throw Self.damaged("the text of word \(index) is not UTF-8", place)
            }
        }
    }

    static func damaged(_ what: String, _ place: String) -> InputError {
        InputError("damaged piece of prepared texts: \(what)", at: place, remedy: "compile the config again")
    }

    private func word32(_ offset: Int) -> UInt32 { UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) }
    private func textOffset(_ word: Int) -> Int { Int(word32(offsets.places + 4 * word)) }

    /// Tokens of document `index`.
    package func length(_ index: Int) -> Int { Int(word32(offsets.lengths + 4 * index)) }

    /// The number of attribute `column` of distinct word `word`.
    package func id(column: Int, word: Int) -> UInt64 {
        UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offsets.ids + 8 * (column * wordCount + word), as: UInt64.self))
    }

    /// The text of distinct word `word`, valid UTF-8.
    package func text(_ word: Int) -> UnsafeBufferPointer<UInt8> {
        let part = UnsafeRawBufferPointer(rebasing: bytes[offsets.text + textOffset(word)..<offsets.text + textOffset(word + 1)])
        return part.bindMemory(to: UInt8.self)
    }

    /// Token `index` of the piece: a distinct word, and `spaceBit` if a space follows.
    package func token(_ index: Int) -> UInt32 { word32(offsets.tokens + 4 * index) }
}
