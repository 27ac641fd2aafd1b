// Words of spaCy 2's schema, spelled out. In: ids by name. Out: columns.
import Shards

extension WordFeatures {
    package init(orth: UInt64, norm: UInt64, prefix: UInt64, suffix: UInt64, shape: UInt64, row: Int32) {
        self.init(ids: [orth, norm, prefix, suffix, shape], rows: row < 0 ? [] : [UInt32(row)])
    }

    package var norm: UInt64 { ids[1] }
    package var prefix: UInt64 { ids[2] }
    package var suffix: UInt64 { ids[3] }
    package var shape: UInt64 { ids[4] }
    /// The one vector row, or -1.
    package var row: Int32 { rows.first.map { Int32($0) } ?? -1 }
}
