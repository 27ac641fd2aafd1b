import Foundation
import Testing

@testable import Shards
@testable import Text

/// Compares t2v's features with the lines of reference/tokens_features.py.
enum TokensComparison {
    /// What differs, at most a few of each kind.
    struct Report {
        var documents = 0
        var tokens = 0
        var differingTokens = 0
        var examples: [String] = []
    }

    /// - Parameters:
    ///   - texts: JSON lines as the reference read them.
    ///   - reference: what the real spaCy printed for them.
    static func compare(model: VectorsModel, texts: UnsafeRawBufferPointer, reference: Data) throws -> Report {
        var report = Report()
        let ours = try FeaturesPrinter(model: model).lines(jsonl: texts)
        let shard = try prepared(ShardPreparer(model: model, schema: .spacy2, minLength: 0, maxLength: .max).prepare(jsonl: texts))
        var place = reference.startIndex
        var document = 0
        for line in ours.split(separator: 0x0a, omittingEmptySubsequences: true) {
            let end = reference[place...].firstIndex(of: 0x0a) ?? reference.endIndex
            let theirs = reference[place..<end]
            let tab = theirs.lastIndex(of: 0x09) ?? theirs.endIndex
            let sums = String(decoding: theirs[min(theirs.index(after: tab), theirs.endIndex)...], as: UTF8.self)
            report.documents += 1
            let tokens = Int(shard.starts[document + 1] - shard.starts[document])
            report.tokens += tokens
            if !theirs[..<tab].elementsEqual(line) {
                try explain(line, theirs[..<tab], document: document, in: &report)
            } else if sums != "-", sums != checksums(shard, document) {
                report.differingTokens += tokens
                report.examples.append("document \(document): ids differ, the strings do not")
            }
            document += 1
            place = min(reference.index(after: end), reference.endIndex)
        }
        if place != reference.endIndex { report.examples.append("the reference has more documents than \(document)") }
        return report
    }

    static func prepared(_ bytes: [UInt8]) throws -> PreparedShard {
        let owner = NSMutableData(bytes: bytes, length: bytes.count)
        return try PreparedShard(
            bytes: UnsafeRawBufferPointer(start: owner.bytes, count: bytes.count), owner: owner, schema: .spacy2, place: "memory")
    }

    private static func checksums(_ shard: PreparedShard, _ document: Int) -> String {
        var sums = [UInt64](repeating: 0, count: 5)
        let (first, end) = (Int(shard.starts[document]), Int(shard.starts[document + 1]))
        for place in first..<max(first, end) {
            let word = shard.word(shard.word(ofToken: place))
            let weight = UInt64(place - first + 1)
            for (index, id) in [word.orth, word.norm, word.prefix, word.suffix, word.shape].enumerated() { sums[index] &+= id &* weight }
        }
        return sums.map { String($0, radix: 16) }.joined(separator: " ")
    }

    private struct Line: Decodable {
        var tokens, norm, prefix, suffix, shape: [String]
        var row: [Int]
    }

    /// Counts tokens that are not in both (as a difference of sequences), and attributes that differ at equal tokens.
    private static func explain(_ ours: ArraySlice<UInt8>, _ theirs: Data, document: Int, in report: inout Report) throws {
        let mine = try JSONDecoder().decode(Line.self, from: Data(ours))
        let real = try JSONDecoder().decode(Line.self, from: theirs)
        func example(_ text: String) { if report.examples.count < 20 { report.examples.append("document \(document): \(text)") } }
        guard scalars(mine.tokens) == scalars(real.tokens) else {
            let changes = scalars(mine.tokens).difference(from: scalars(real.tokens))
            report.differingTokens += max(changes.insertions.count, changes.removals.count)
            let at = zip(scalars(mine.tokens), scalars(real.tokens)).prefix { $0 == $1 }.count
            example("tokens \(mine.tokens.dropFirst(max(0, at - 2)).prefix(8)), spaCy \(real.tokens.dropFirst(max(0, at - 2)).prefix(8))")
            return
        }
        for index in mine.tokens.indices {
            let a = [mine.norm[index], mine.prefix[index], mine.suffix[index], mine.shape[index], String(mine.row[index])]
            let b = [real.norm[index], real.prefix[index], real.suffix[index], real.shape[index], String(real.row[index])]
            guard scalars(a) != scalars(b) else { continue }
            report.differingTokens += 1
            example("\(mine.tokens[index].debugDescription): \(a), spaCy \(b)")
        }
    }

    /// Swift's == treats canonically equivalent strings as equal; here every code point counts.
    private static func scalars(_ strings: [String]) -> [[UInt32]] { strings.map { $0.unicodeScalars.map(\.value) } }
}
