// The files of a vectors model's folder. In: a path. Out: their contents, checked. What they mean is VectorsModel's business.
import Base
import FoundationEssentials
import Shards

/// Reads the files of a spaCy vectors model. Everything in them is checked; nothing is trusted.
struct ModelFiles {
    /// The folder that holds meta.json and tokenizer.
    let folder: String
    let language: String
    /// The spaCy version whose rules apply to the folder: 2.0 and 2.1 are read as 2.1.9 does, 2.2 and 2.3 as 2.3.9, 3.x as 3.8.
    let version: SymbolVersion

    private struct Meta: Decodable {
        var lang: String?
        var name: String?
        var version: String?
        var spacy_version: String?
    }

    private struct VectorsConfig: Decodable {
        var mode: String?
        var attr: Int?
    }

    /// The files that tokenizing and features need, in the order of `VectorsModel.bundleFiles`. Only the first two and key2row are
    /// required.
    static let names = [
        "meta.json", "tokenizer", "vocab/key2row", "vocab/lookups.bin", "vocab/lexemes.bin", "vocab/strings.json", "vocab/vectors.cfg",
    ]

    static let remedy = "give the folder of a vectors model: it holds meta.json, tokenizer and vocab/"

    /// Languages whose own tokenizer is a program and not a set of rules.
    private static let otherLanguages: Set<String> = ["ja", "ko", "th", "vi", "zh"]

    /// - Parameter isJob: the front end has checked that the tokenizer is rule-based, which is possible in any language.
    init(_ given: String, isJob: Bool = false) throws(InputError) {
        var isFolder: Bool = false
        guard FileManager.default.fileExists(atPath: given, isDirectory: &isFolder) else {
            let name = Path.name(given)
            let package = "if it is an installed package, give `$(python -c 'import \(name); print(\(name).__path__[0])')`"
            throw InputError("no such folder", at: given, remedy: Self.isPackageName(name) ? package : Self.remedy)
        }
        guard isFolder else { throw InputError("a file, not a folder", at: given, remedy: Self.remedy) }
        folder = try Self.modelFolder(given)
        let meta: Meta = try Self.decode("\(folder)/meta.json")
        guard let lang = meta.lang else {
            throw InputError("no \"lang\" in it", at: "\(folder)/meta.json", remedy: "save the model again with spaCy")
        }
        language = lang
        version = Self.version(meta.spacy_version, folder: folder)
        if !isJob, Self.otherLanguages.contains(language) { throw TokenizerRules.notRuleBased(at: "\(folder) (lang \(language))") }
    }

    /// As spaCy names its packages: en_core_web_md, en_vectors_web_lg.
    private static func isPackageName(_ name: String) -> Bool {
        let parts = name.split(separator: "_", omittingEmptySubsequences: false)
        return parts.count > 1 && (2...3).contains(parts[0].count)
            && parts.allSatisfy { !$0.isEmpty && $0.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) } }
    }

    func path(_ name: String) -> String { "\(folder)/\(name)" }
    func exists(_ name: String) -> Bool { Self.isFile(path(name)) }

    private static func isFile(_ path: String) -> Bool {
        var isFolder: Bool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && !isFolder
    }

    /// The folder itself, or the one model folder that an installed package holds (en_vectors_web_lg/en_vectors_web_lg-2.3.0).
    private static func modelFolder(_ given: String) throws(InputError) -> String {
        if isFile("\(given)/tokenizer"), isFile("\(given)/meta.json") { return given }
        let children = ((try? FileManager.default.contentsOfDirectory(atPath: given)) ?? []).ascending().map { "\(given)/\($0)" }
        let models = children.filter { isFile("\($0)/tokenizer") && isFile("\($0)/meta.json") }
        if models.count == 1 { return models[0] }
        if models.count > 1 {
            throw InputError("it holds several models", at: given, remedy: "give one of \(models.joined(separator: ", "))")
        }
        guard isFile("\(given)/meta.json") else { throw InputError("no meta.json in it", at: given, remedy: remedy) }
        if let meta: Meta = try? decode("\(given)/meta.json"), let lang = meta.lang, otherLanguages.contains(lang) {
            throw TokenizerRules.notRuleBased(at: "\(given) (lang \(lang))")
        }
        throw InputError(
            "no file `tokenizer` in it: this is not a vectors model, or its tokenizer is not rule-based", at: given,
            remedy:
                "give a vectors model of a language with a rule-based tokenizer, and `tokens` in the records if necessary"
        )
    }

    private static func decode<T: Decodable>(_ path: String) throws(InputError) -> T {
        let file = try MappedFile(path)
        do {
            return try JSONDecoder().decode(T.self, from: Data(file.bytes))
        } catch {
            throw InputError("not the expected JSON", at: path, remedy: "save the model again with spaCy, or copy the file again")
        }
    }

    /// The first two numbers of a specification like ">=2.3.9" or ">=3.8.18,<3.9.0"; without one, the files decide.
    private static func version(_ specification: String?, folder: String) -> SymbolVersion {
        let digits = specification?.drop { !$0.isASCII || !$0.isNumber }.split(separator: ".") ?? []
        if digits.count >= 2, let major = Int(digits[0]), let minor = Int(digits[1].prefix { $0.isASCII && $0.isNumber }) {
            return major >= 3 ? .spacy38 : minor >= 2 ? .spacy23 : .spacy21
        }
        if isFile("\(folder)/config.cfg") || isFile("\(folder)/vocab/vectors.cfg") { return .spacy38 }
        return isFile("\(folder)/vocab/lexemes.bin") ? .spacy21 : .spacy23
    }

    /// Refuses the kinds of vectors of spaCy 3 that have no table of rows by word.
    func checkVectorsConfig() throws(InputError) {
        guard version == .spacy38, exists("vocab/vectors.cfg") else { return }
        let config: VectorsConfig = try Self.decode(path("vocab/vectors.cfg"))
        let place = path("vocab/vectors.cfg")
        if let mode = config.mode, mode != "default" {
            throw InputError("vectors of mode \"\(mode)\" are not supported", at: place, remedy: "use vectors of mode \"default\"")
        }
        if let attr = config.attr, attr != 65 {
            throw InputError("vectors keyed by attribute \(attr) are not supported", at: place, remedy: "use vectors keyed by ORTH (65)")
        }
    }

    /// The vector row of each string id.
    /// - Parameter rows: the number of rows, if the vectors are at hand.
    func key2row(rows: Int?) throws(InputError) -> [UInt64: Int32] {
        let place = path("vocab/key2row")
        guard exists("vocab/key2row") else { throw noVectors("vocab/key2row is missing") }
        let result = try Self.key2row(place, rows: rows)
        if result.isEmpty { throw noVectors("no word has a vector") }
        return result
    }

    /// The same for any file; empty if no word has a vector.
    static func key2row(_ place: String, rows: Int?) throws(InputError) -> [UInt64: Int32] {
        let file = try MappedFile(place)
        var reader = MsgpackReader(file.bytes, place: place)
        let count = try reader.readMapCount()
        var result: [UInt64: Int32] = [:]
        result.reserveCapacity(count)
        for _ in 0..<count {
            let key = try reader.readUnsigned()
            let row = try reader.readInteger()
            if row.negative { continue }
            guard row.bits < UInt64(min(rows ?? Int(Int32.max), Int(Int32.max))) else {
                throw InputError("key \(key) has row \(row.bits) of \(rows ?? 0)", at: place, remedy: "make the vectors model again")
            }
            result[key] = Int32(row.bits)
        }
        return result
    }

    func noVectors(_ what: String) -> InputError {
        InputError(
            "this model has no vectors (\(what))", at: folder,
            remedy: "make one with `spacy init-model LANG DIR -v FILE` (2.x) or `spacy init vectors LANG FILE DIR` (3.x)")
    }

    /// The table lexeme_norm of lookups.bin, by string id (spacy/lookups.py); empty where there is none.
    func lexemeNorms() throws(InputError) -> [UInt64: [UInt8]] {
        guard version != .spacy21, exists("vocab/lookups.bin") else { return [:] }
        let place = path("vocab/lookups.bin")
        let file = try MappedFile(place)
        guard !file.bytes.isEmpty else { return [:] }
        var reader = MsgpackReader(file.bytes, place: place)
        var result: [UInt64: [UInt8]] = [:]
        for _ in 0..<(try reader.readMapCount()) {
            guard try reader.readString() == "lexeme_norm" else {
                try reader.skip()
                continue
            }
            for _ in 0..<(try reader.readMapCount()) {
                let key = try reader.readUnsigned()
                result[key] = Array(try reader.readString().utf8)
            }
        }
        return result
    }
}
