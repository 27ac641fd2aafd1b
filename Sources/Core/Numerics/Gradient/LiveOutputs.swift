// Outputs of a head that are not always zero. In: the output layer's parameters, a micro-batch's targets. Out: their rows, side by side.
import Model

/// The output layer of spaCy 3's characters objective begins with zeros, and has an output for each value of a byte. While a value has not
/// been a target, its output is 0 for every token, and so is its gradient (there is no softmax): the optimizer leaves it at 0. Of 1,024
/// outputs, texts in English use 200 after 3,000 words and 400 after a million. Products leave out the others; that changes no bit.
///
/// Owned by one thread. Legend: O outputs, H inputs, L live outputs: first those with a parameter that is not 0, ascending, then others
/// that are targets.
final class LiveOutputs {
    private let outputs: Int
    private let inputs: Int
    private let weightsOffset: Int
    private let biasOffset: Int

    /// (L): which outputs are live.
    private(set) var rows: [Int] = []
    /// How many of them have a parameter that is not 0.
    private(set) var learned = 0
    /// (O): the place of each output among the live ones; -1: it is not live.
    private(set) var places: [Int]
    /// (learned, H) and (learned): weights and biases of `version`.
    private let weights: MutableFloats
    private let biases: MutableFloats
    private var version: UInt64?

    init(outputs: Int, inputs: Int, weightsOffset: Int, biasOffset: Int) {
        (self.outputs, self.inputs) = (outputs, inputs)
        (self.weightsOffset, self.biasOffset) = (weightsOffset, biasOffset)
        places = Array(repeating: -1, count: outputs)
        weights = .allocate(capacity: outputs * inputs)
        biases = .allocate(capacity: outputs)
    }

    deinit {
        weights.deallocate()
        biases.deallocate()
    }

    /// Whether outputs may be left out: a softmax gives every output a gradient, and OpenBLAS's columns depend on each other.
    static func exist(_ spec: ModelSpec, _ objective: ModelSpec.CharactersObjective) -> Bool {
        objective.loss != .softmax && spec.arithmetic != .blas
    }

    /// (learned, H).
    var learnedWeights: Floats { Floats(weights) }

    /// (learned).
    var learnedBiases: Floats { Floats(biases) }

    /// Finds the live outputs of a pass.
    func find(_ pass: Pass, bytes: Int) {
        let current = pass.weights.packed?.version
        if current == nil || current != version {
            findLearned(pass.parameters)
            version = current
        } else {
            for row in rows[learned...] { places[row] = -1 }
            rows.removeLast(rows.count - learned)
        }
        for (index, byte) in pass.batch.targetBytes.enumerated() {
            let output = 256 * (index % bytes) + Int(byte)
            if places[output] < 0 {
                places[output] = rows.count
                rows.append(output)
            }
        }
    }

    private func findLearned(_ parameters: Floats) {
        rows.removeAll(keepingCapacity: true)
        for output in 0..<outputs {
            let row = parameters + weightsOffset + output * inputs
            // Nearly every row that is not zero shows it at once.
            guard parameters[biasOffset + output] != 0 || row[0] != 0 || !areZeroBits(row, count: inputs) else {
                places[output] = -1
                continue
            }
            places[output] = rows.count
            (weights + rows.count * inputs).update(from: row, count: inputs)
            biases[rows.count] = parameters[biasOffset + output]
            rows.append(output)
        }
        learned = rows.count
    }

    /// Copies rows of the live outputs to where all outputs have theirs; those of the others become 0.
    /// - Parameters:
    ///   - live: (L, H).
    ///   - gradient: (O, H).
    func spread(_ live: Floats, to gradient: MutableFloats) {
        for output in 0..<outputs {
            let target = gradient + output * inputs
            if places[output] < 0 {
                target.update(repeating: 0, count: inputs)
            } else {
                target.update(from: live + places[output] * inputs, count: inputs)
            }
        }
    }
}
