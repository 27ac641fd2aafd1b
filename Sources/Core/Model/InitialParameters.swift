// Fresh weights. In: layout and seed. Out: a filled parameter buffer, the same everywhere.
import Base

extension ParameterLayout {
    /// Fills `buffer` (`count` floats) as thinc 7 initializes (`maxout.py`, `affine.py`, `static_vectors.py`, `hash_embed.py`): weights
    /// uniform in +-sqrt(6 / (outputs + inputs)), pieces not counted; tables uniform in +-0.1; gains 1; biases 0.
    ///
    /// Values are drawn by Philox in the files' order of axes, so they do not depend on the layout in memory.
    package func initialize(_ buffer: UnsafeMutablePointer<Float>, seed: UInt64) {
        for (index, tensor) in tensors.enumerated() {
            let target = buffer + tensor.offset
            if tensor.name.hasSuffix(".b") {
                target.update(repeating: 0, count: tensor.count)
            } else if tensor.name.hasSuffix(".G") {
                target.update(repeating: 1, count: tensor.count)
            } else {
                let isEmbedding = tensor.name.hasSuffix(".E")
                let bound = isEmbedding ? 0.1 : (6 / Float(tensor.shape[0] + tensor.shape[tensor.shape.count - 1])).squareRoot()
                let philox = Philox(seed: seed, purpose: .initialValues, layer: index)
                let groups = (tensor.count + Philox.wordsPerGroup - 1) / Philox.wordsPerGroup
                var words = [UInt32](repeating: 0, count: groups * Philox.wordsPerGroup)
                words.withUnsafeMutableBufferPointer { words in
                    guard let words = words.baseAddress else { return }
                    philox.fill(words, groups: groups, item: 0, index: 0)
                    forEachIndex(of: tensor) { file, memory in
                        // 24 bits: every value is exact in a float.
                        let uniform = Float(words[file] >> 8) * 0x1p-24
                        target[memory] = bound * (2 * uniform - 1)
                    }
                }
            }
        }
    }
}
