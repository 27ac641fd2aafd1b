// Who may fetch what. In: requests of greeted workers. Out: a part of a blob, nothing, or a refusal; the shell provides the bytes.
import Base

/// What workers can fetch from the coordinator, with sizes. Workers know every size in advance, so an honest request fits exactly.
package struct ArtifactServer: Sendable {
    package enum Answer: Equatable, Sendable {
        /// These bytes of a blob of `total` bytes.
        case part(Range<Int>, total: UInt64)
        /// Not available yet, or no longer: there is no answer, and the worker requests it again.
        case nothing
        /// No honest worker requests this.
        case refusal(String)
    }

    private let modelFiles: [UInt64]
    private let texts: Numbered<ShardID, UInt64>
    private let vectorRows: UInt64
    private let bytesPerRow: UInt64
    private var prepared: [ShardID: UInt64] = [:]
    private var plan: UInt64?

    /// - Parameters:
    ///   - modelFiles: bytes of each file of the vectors model, as the welcome lists them.
    ///   - texts: bytes of each shard's text.
    package init(modelFiles: [UInt64], texts: [UInt64], vectorRows: Int, bytesPerRow: Int) {
        (self.modelFiles, self.texts) = (modelFiles, Numbered(texts))
        (self.vectorRows, self.bytesPerRow) = (UInt64(max(0, vectorRows)), UInt64(max(0, bytesPerRow)))
    }

    /// A prepared shard is in the cache.
    package mutating func add(preparedShard shard: ShardID, byteCount: UInt64) { prepared[shard] = byteCount }

    package mutating func add(planOf byteCount: UInt64) { plan = byteCount }

    package func answer(_ request: FetchRequest) -> Answer {
        if case .rows = request.blob {} else if !request.rows.isEmpty { return .refusal("a request for \(request.blob) with vector rows") }
        let total: UInt64
        switch request.blob {
        case .model(let number):
            guard Int(number) < modelFiles.count else { return .refusal("a request for file \(number) of \(modelFiles.count)") }
            total = modelFiles[Int(number)]
        case .text(let shard):
            guard shard < texts.endIndex else { return .refusal("a request for the text of shard \(shard) of \(texts.count)") }
            total = texts[shard]
        case .prepared(let shard):
            guard shard < texts.endIndex else { return .refusal("a request for shard \(shard) of \(texts.count)") }
            guard let size = prepared[shard] else { return .nothing }
            total = size
        case .plan:
            guard let plan else { return .nothing }
            total = plan
        case .rows:
            guard !request.rows.isEmpty, request.rows.allSatisfy({ UInt64($0) < vectorRows }) else {
                return .refusal("a request for vector rows that do not exist")
            }
            total = UInt64(request.rows.count) * bytesPerRow
            guard total <= UInt64(WireLimits.chunk) || request.rows.count == 1 else {
                return .refusal("a request for too many vector rows")
            }
        case .parameters: return .nothing
        case .gradient: return .refusal("a request for a gradient")
        }
        guard let part = request.part(of: total), request.offset % UInt64(WireLimits.chunk) == 0,
            part.count == min(WireLimits.chunk, Int(clamping: total) - part.lowerBound)
        else { return .refusal("a request for bytes from \(request.offset) of \(request.blob), which has \(total)") }
        return .part(part, total: total)
    }
}

extension FetchRequest {
    /// The requested part of a blob of `total` bytes; nil if it begins at the blob's end or beyond.
    package func part(of total: UInt64) -> Range<Int>? {
        guard offset < total, let start = Int(exactly: offset), let size = Int(exactly: total) else { return nil }
        return start..<start + Swift.min(size - start, Int(length))
    }
}
