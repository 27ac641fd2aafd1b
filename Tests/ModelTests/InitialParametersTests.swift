import Testing

@testable import Model

@Suite struct InitialParametersTests {
    @Test func boundsAndMoments() throws {
        let layout = ParameterLayout(spec: .spacy2(TrainingSettings()))
        var values = [Float](repeating: .nan, count: layout.count)
        values.withUnsafeMutableBufferPointer { layout.initialize($0.baseAddress!, seed: 0) }
        func check(_ name: String, bound: Float) throws {
            let tensor = try #require(layout.tensor(named: name))
            let part = values[tensor.range]
            #expect(part.allSatisfy { abs($0) <= bound } && part.contains { abs($0) > 0.99 * bound }, "\(name)")
            let mean = part.reduce(0, +) / Float(part.count)
            let square = part.reduce(0) { $0 + $1 * $1 } / Float(part.count)
            #expect(abs(mean) < 0.01 * bound && abs(square / (bound * bound) - 1.0 / 3) < 0.01, "\(name)")
        }
        try check("embed.norm.E", bound: 0.1)
        try check("mixer.W", bound: (6 / Float(96 + 384)).squareRoot())
        try check("encode.0.W", bound: (6 / Float(96 + 288)).squareRoot())
        try check("head.hidden.W", bound: (6 / Float(300 + 96)).squareRoot())
        try check("head.output.W", bound: (6 / Float(300 + 300)).squareRoot())
        for tensor in layout.tensors where tensor.name.hasSuffix(".b") { #expect(values[tensor.range].allSatisfy { $0 == 0 }) }
        for tensor in layout.tensors where tensor.name.hasSuffix(".G") { #expect(values[tensor.range].allSatisfy { $0 == 1 }) }
    }

    @Test func seedsAndTensorsDiffer() {
        let layout = ParameterLayout(spec: .spacy2(TrainingSettings()))
        func made(_ seed: UInt64) -> [Float] {
            var values = [Float](repeating: 0, count: layout.count)
            values.withUnsafeMutableBufferPointer { layout.initialize($0.baseAddress!, seed: seed) }
            return values
        }
        let (first, again, other) = (made(1), made(1), made(2))
        #expect(first == again)
        #expect(first != other)
        #expect(first[layout.tables[1].range].prefix(100) != first[layout.tables[2].range].prefix(100))
    }
}
