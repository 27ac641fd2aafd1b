// The lexemes that a 2.1 model stores. In: vocab/lexemes.bin and vocab/strings.json. Out: those that differ from what the code computes.
import Base
import FoundationEssentials
import Shards

extension ModelFiles {
    /// Bytes of a record: eleven UInt64 (flags, lang, id, length, orth, lower, norm, shape, prefix, suffix, cluster) and two floats
    /// (spacy/structs.pxd of 2.1.9, SerializedLexemeC).
    private static let recordSize = 96

    /// Lexemes by text. Most are what the code gives and are left out, so that the table stays small.
    /// - Parameter computed: the lexicon without stored lexemes.
    func storedLexemes(computed: Lexicon) throws(InputError) -> [[UInt8]: StoredLexeme] {
        guard version == .spacy21, exists("vocab/lexemes.bin") else { return [:] }
        let place = path("vocab/lexemes.bin")
        let file = try MappedFile(place)
        guard file.bytes.count % Self.recordSize == 0 else {
            throw InputError("its length is not a multiple of \(Self.recordSize)", at: place, remedy: "copy the file again")
        }
        let strings = try stringsByID(ids: computed.folderIDs)
        var result: [[UInt8]: StoredLexeme] = [:]
        let symbolCount = version.names.count
        for start in stride(from: 0, to: file.bytes.count, by: Self.recordSize) {
            func field(_ index: Int) -> UInt64 {
                UInt64(littleEndian: file.bytes.loadUnaligned(fromByteOffset: start + 8 * index, as: UInt64.self))
            }
            func text(_ id: UInt64) -> [UInt8]? { id == 0 ? [] : strings[id] }
            // a lexeme whose own text is unknown can never occur; 2.1.9 itself skips those of symbols, since its string store keeps no text
            // under a symbol's number (`lexemes_from_bytes`)
            guard field(4) > UInt64(symbolCount), let word = text(field(4)), !word.isEmpty else { continue }
            let features = word.withUnsafeBufferPointer { computed.features($0) }
            let (norm, shape, prefix, suffix) = (field(6), field(7), field(8), field(9))
            if (norm, shape, prefix, suffix) == (features.norm, features.shape, features.prefix, features.suffix) { continue }
            guard let normText = text(norm), let shapeText = text(shape), let prefixText = text(prefix), let suffixText = text(suffix)
            else {
                throw InputError(
                    "the lexeme \"\(String(decoding: word, as: UTF8.self))\" has an attribute that strings.json does not hold", at: place,
                    remedy: "save the model again with spaCy")
            }
            result[word] = StoredLexeme(
                norm: norm, prefix: prefix, suffix: suffix, shape: shape, normText: normText, prefixText: prefixText,
                suffixText: suffixText,
                shapeText: shapeText)
        }
        return result
    }

    private func stringsByID(ids: StringIDs) throws(InputError) -> [UInt64: [UInt8]] {
        let place = path("vocab/strings.json")
        let file = try MappedFile(place)
        guard let list = try? JSONDecoder().decode([String].self, from: Data(file.bytes)) else {
            throw InputError("not a JSON list of strings", at: place, remedy: "save the model again with spaCy, or copy the file again")
        }
        var result: [UInt64: [UInt8]] = [:]
        result.reserveCapacity(list.count)
        for string in list { result[ids.id(string)] = Array(string.utf8) }
        // symbols are in every string store, listed or not
        for name in version.names { result[ids.id(name)] = Array(name.utf8) }
        return result
    }
}
