// Parses thinc 8's weights file. In: foreign bytes. Out: nodes with the places of their parameters.
import Base

/// Reads what `thinc.model.Model.to_bytes` (8.1 to 8.3) writes: {"nodes": [{"index", "name", "dims", "refs"}], "attrs": [{name: msgpack in
/// a bin}], "params": [{name: array}], "shims": [[]]}; an array is srsly's {b"nd": true, b"type": "<f4", b"kind": b"", b"shape": [ints],
/// b"data": bin}.
struct TemplateParser {
    private let bytes: UnsafeRawBufferPointer
    private let place: String

    init(_ bytes: UnsafeRawBufferPointer, place: String) {
        self.bytes = bytes
        self.place = place
    }

    private func refuse(_ what: String) -> InputError {
        InputError("not a weights file of spaCy 3: \(what)", at: place, remedy: "give a file that spaCy 3 or t2v wrote, or copy it again")
    }

    /// The nodes of the file, which nothing may follow.
    func nodes() throws(InputError) -> [TemplateFile.Node] {
        var reader = MsgpackReader(bytes, place: place)
        guard try reader.peek() == .map else { throw refuse("it is not a map") }
        var nodes: [TemplateFile.Node]?
        for _ in 0..<(try reader.readMapCount()) {
            switch try reader.readString() {
            case "nodes":
                guard nodes == nil else { throw refuse("\"nodes\" is there twice") }
                nodes = try heads(&reader)
            case "attrs":
                try each(&reader, &nodes, "attrs") { reader, node throws(InputError) in try attrs(&reader, &node) }
            case "params":
                try each(&reader, &nodes, "params") { reader, node throws(InputError) in try parameters(&reader, &node) }
            case "shims":
                try each(&reader, &nodes, "shims") { reader, node throws(InputError) in
                    guard try reader.readArrayCount() == 0 else {
                        throw refuse("node \(node.name) has a shim (a model of another framework), which is not supported")
                    }
                }
            case let key: throw refuse("it has an unknown part \"\(key)\"")
            }
        }
        guard reader.isAtEnd else { throw refuse("\(bytes.count - reader.offset) bytes follow its end") }
        guard let nodes, !nodes.isEmpty else { throw refuse("it has no nodes") }
        return nodes
    }

    private func heads(_ reader: inout MsgpackReader) throws(InputError) -> [TemplateFile.Node] {
        var nodes: [TemplateFile.Node] = []
        for index in 0..<(try reader.readArrayCount()) {
            var node = TemplateFile.Node(name: "", dims: [:], attrs: [:], parameters: [:])
            for _ in 0..<(try reader.readMapCount()) {
                switch try reader.readString() {
                case "index":
                    guard try reader.readUnsigned() == UInt64(index) else { throw refuse("node \(index) has another index") }
                case "name": node.name = try reader.readString()
                case "dims":
                    for _ in 0..<(try reader.readMapCount()) {
                        let name = try reader.readString()
                        if try reader.peek() == .null {
                            try reader.readNil()
                        } else {
                            node.dims[name] = try size(&reader, of: "\(name) of node \(index)")
                        }
                    }
                default: try reader.skip()
                }
            }
            nodes.append(node)
        }
        return nodes
    }

    private func size(_ reader: inout MsgpackReader, of what: String) throws(InputError) -> Int {
        let value = try reader.readUnsigned()
        guard value <= 1 << 40 else { throw refuse("\(what) is \(value)") }
        return Int(value)
    }

    private func each(
        _ reader: inout MsgpackReader, _ nodes: inout [TemplateFile.Node]?, _ part: String,
        _ body: (inout MsgpackReader, inout TemplateFile.Node) throws(InputError) -> Void
    ) throws(InputError) {
        guard var known = nodes else { throw refuse("\"\(part)\" comes before \"nodes\"") }
        let count = try reader.readArrayCount()
        guard count == known.count else { throw refuse("\(count) entries in \"\(part)\" for \(known.count) nodes") }
        for index in 0..<count { try body(&reader, &known[index]) }
        nodes = known
    }

    private func attrs(_ reader: inout MsgpackReader, _ node: inout TemplateFile.Node) throws(InputError) {
        for _ in 0..<(try reader.readMapCount()) {
            let name = try reader.readString()
            let value = try reader.readBinary()
            // An attribute of a user's own layer may be packed in another way; then only spaCy reads it.
            if let decoded = try? MsgpackValue(decoding: value, place: place) { node.attrs[name] = decoded }
        }
    }

    private func parameters(_ reader: inout MsgpackReader, _ node: inout TemplateFile.Node) throws(InputError) {
        for _ in 0..<(try reader.readMapCount()) {
            let name = try reader.readString()
            let what = "parameter \(name) of node \(node.name)"
            guard try reader.peek() == .map else { throw refuse("\(what) has no values: the model was saved before it was initialized") }
            var (shape, range, type, isArray): ([Int]?, Range<Int>?, String?, Bool) = (nil, nil, nil, false)
            for _ in 0..<(try reader.readMapCount()) {
                switch String(decoding: try reader.readBinary(), as: UTF8.self) {
                case "nd": isArray = try reader.readBool()
                case "type": type = try reader.readString()
                case "shape":
                    var sizes: [Int] = []
                    for _ in 0..<(try reader.readArrayCount()) { sizes.append(try size(&reader, of: "a size of \(what)")) }
                    shape = sizes
                case "data":
                    let data = try reader.readBinary()
                    range = reader.offset - data.count..<reader.offset
                default: try reader.skip()
                }
            }
            guard isArray, let shape, let range, let type else { throw refuse("\(what) is not an array") }
            guard type == "<f4" else { throw refuse("\(what) is of type \(type), expected <f4") }
            var byteCount = 4
            for size in shape {
                let (product, overflow) = byteCount.multipliedReportingOverflow(by: size)
                guard !overflow else { throw refuse("\(what) has shape \(shape)") }
                byteCount = product
            }
            guard byteCount == range.count else { throw refuse("\(what) of shape \(shape) has \(range.count) bytes") }
            node.parameters[name] = TemplateFile.Parameter(shape: shape, range: range)
        }
    }
}
