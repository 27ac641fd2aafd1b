// Optimizer settings from the environment, as in spaCy. In: environment variables. Out: settings, or the variable that is wrong.
import Base
import Model

extension OptimizerSettings {
    /// Reads learn_rate, optimizer_B1, optimizer_B2, optimizer_eps, L2_penalty, grad_norm_clip; SPACY_ with the name in capitals also
    /// counts, and takes precedence (spaCy 2.3 `util.env_opt`).
    /// - Throws: `InputError` that names a variable whose value is not a number or out of range.
    package init(environment: [String: String]) throws(InputError) {
        self.init()
        func read(_ name: String, _ value: inout Double, _ isLegal: (Double) -> Bool, _ range: String) throws(InputError) {
            for key in Self.keys(name) {
                guard let text = environment[key] else { continue }
                guard let number = Double(text), number.isFinite, isLegal(number) else {
                    throw InputError("\(key)=\(text) is not a number \(range)", at: "environment", remedy: "correct or unset \(key)")
                }
                value = number
                return
            }
        }
        try read("learn_rate", &learnRate, { $0 >= 0 }, "of 0 or more")
        try read("optimizer_B1", &beta1, { $0 > 0 && $0 < 1 }, "between 0 and 1")
        try read("optimizer_B2", &beta2, { $0 > 0 && $0 < 1 }, "between 0 and 1")
        try read("optimizer_eps", &epsilon, { $0 >= 0 }, "of 0 or more")
        try read("L2_penalty", &l2, { $0 >= 0 }, "of 0 or more")
        try read("grad_norm_clip", &gradientNormClip, { $0 >= 0 }, "of 0 or more")
    }

    private static func keys(_ name: String) -> [String] { ["SPACY_" + name.uppercased(), name] }

    /// The variables that take effect, as "name=value".
    package static func variables(in environment: [String: String]) -> [String] {
        ["learn_rate", "optimizer_B1", "optimizer_B2", "optimizer_eps", "L2_penalty", "grad_norm_clip"].compactMap { name in
            keys(name).first { environment[$0] != nil }.flatMap { key in environment[key].map { "\(key)=\($0)" } }
        }
    }
}
