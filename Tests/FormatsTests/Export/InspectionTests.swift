// inspect: what it says about weights, checkpoints and other files. train_check.py tries its commands on the real spaCy.
import Foundation
import TestSupport
import Testing

@testable import Base
@testable import Formats
@testable import Model

@Suite("Inspection")
struct InspectionTests {
    func commands(_ shape: Tok2VecShape) -> TrainCommands { TrainCommands(shape: shape, file: "out/model4.bin") }
    static let start = "python -m spacy train en trained train.json dev.json -t2v out/model4.bin"

    @Test(
        "commands for the settings that spacy-facts names",
        arguments: [
            (
                Tok2VecShape(width: 96, depth: 4, pieces: 3, rows: 2000, vectorWidth: nil),
                ["\(start) -p tagger,parser,ner", "\(start) -p textcat -ta simple_cnn"], ["\(start) -p tagger,parser,ner"]
            ),
            (
                Tok2VecShape(width: 128, depth: 4, pieces: 2, rows: 5000, vectorWidth: nil),
                ["\(start) -p tagger,parser,ner -cw 128", "SPACY_TOKEN_VECTOR_WIDTH=128 \(start) -p textcat -ta simple_cnn"],
                ["SPACY_TOKEN_VECTOR_WIDTH=128 \(start) -p tagger,parser,ner"]
            ),
            (
                Tok2VecShape(width: 96, depth: 8, pieces: 3, rows: 2000, vectorWidth: nil),
                ["\(start) -p parser,ner -cd 8"], ["SPACY_CONV_DEPTH=8 \(start) -p parser,ner"]
            ),
            (
                Tok2VecShape(width: 64, depth: 2, pieces: 3, rows: 2000, vectorWidth: 300),
                ["\(start) -p parser,ner -cw 64 -cd 2 -v VECTORS_MODEL"],
                ["SPACY_TOKEN_VECTOR_WIDTH=64 SPACY_CONV_DEPTH=2 \(start) -p parser,ner -v VECTORS_MODEL"]
            ),
        ])
    func trainCommands(shape: Tok2VecShape, for23: [String], for21: [String]) {
        #expect(commands(shape).for23 == for23)
        #expect(commands(shape).for21 == for21)
    }

    @Test("a weights file is described with settings, seeds, shapes and commands")
    func weights() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/it's model.bin"
        let shape = Tok2VecShape(width: 3, depth: 4, pieces: 2, rows: 5, vectorWidth: nil)
        try AtomicFile.write(try sampleTok2Vec(shape, seeds: [12, 13, 14, 15]).encoded(), to: path)
        let text = try inspect(path: path)
        for line in [
            "  width    3", "  depth    4", "  pieces   2", "  rows     5", "  vectors  no input",
            "  seeds    norm 12, prefix 13, suffix 14, shape 15 (of the file: kept with the weights)", "  embed.suffix.E   2 x 3",
            "  encode.3.W       3 x 2 x 9", "spaCy 2.3 loads it with", "spaCy 2.1 loads it with",
        ] {
            #expect(text.components(separatedBy: "\n").contains(line), "\(line) in\n\(text)")
        }
        #expect(text.contains("-t2v '\(folder.path)/it'\\''s model.bin' -p tagger,parser,ner -cw 3\n"))
    }

    @Test("a checkpoint is described with update and epoch; a damaged one is refused")
    func checkpoint() throws {
        let folder = try TemporaryFolder()
        var checkpoint = Checkpoint(spec: .spacy2(TrainingSettings()))
        checkpoint.parameters = InitialWeightsTests.parameters(InitialWeightsTests.shape)
        (checkpoint.state.update, checkpoint.state.epoch, checkpoint.state.epochUpdate) = (70, 2, 10)
        checkpoint.state.loss = 30
        checkpoint.state.selectedWords = 60
        let path = folder.path + "/checkpoint-70.safetensors"
        try checkpoint.write(to: path)
        let text = try inspect(path: path)
        for part in [
            "update        70", "epoch         2, its update 10 is next", "depth         2", "0.5 per selected word", "head.output.W",
            "-p parser,ner -cw 4 -cd 2",
        ] {
            #expect(text.contains(part), "\(part) in\n\(text)")
        }
        var bytes = try folder.bytes("checkpoint-70.safetensors")
        bytes[bytes.count - 1] ^= 1
        try Data(bytes).write(to: URL(filePath: path))
        let error = #expect(throws: InputError.self) { try inspect(path: path) }
        #expect(try #require(error).what.contains("altered"))
    }

    @Test("other files are refused in one line", arguments: ["", "x", "{\"a\": 1}", "\u{81}"])
    func others(content: String) throws {
        let folder = try TemporaryFolder()
        try Data(content.utf8).write(to: URL(filePath: folder.path + "/f"))
        let error = #expect(throws: InputError.self) { try inspect(path: folder.path + "/f") }
        #expect(try #require(error).place.hasSuffix("/f"))
        #expect(throws: InputError.self) { try inspect(path: folder.path) }
        #expect(throws: InputError.self) { try inspect(path: folder.path + "/none") }
    }
}
