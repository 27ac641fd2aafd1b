import Testing

@testable import Model
@testable import Numerics

@Suite struct FingerprintTests {
    @Test func theFingerprintIsStableAndQuick() {
        let clock = ContinuousClock()
        var first: NumericFingerprint?
        let time = clock.measure { first = NumericFingerprint.measure(.spacy2(TrainingSettings())) }
        #expect(first == NumericFingerprint.measure(.spacy2(TrainingSettings())))
        // Well under a second on an idle core; tests share theirs.
        #expect(time < .seconds(5))
        #expect(first?.hash != 0)
        #expect(first?.coreName.isEmpty == false)
    }

    @Test func lanesOfAProfileHaveDocumentsOfTheirOwn() throws {
        let spec = ModelSpec.spacy2(TrainingSettings())
        let canned = try CannedCorpus(lanes: 3, words: 700, spec: spec)
        let lanes = canned.lanes(3, words: 700)
        #expect(lanes.map { $0.reduce(0) { $0 + $1.tokens.count } } == [700, 700, 700])
        #expect(Set(lanes.flatMap { $0.map(\.key) }).count == 9)
    }

    @Test func theCannedMicroBatchesHaveTheWordsTheyShould() throws {
        let canned = try CannedCorpus(words: 3000, spec: .spacy2(TrainingSettings()))
        for words in [1, 8, 57, 375, 3000] {
            #expect(canned.documents(words: words).reduce(0) { $0 + $1.tokens.count } == words)
        }
        let batch = MicroBatch()
        let builder = MicroBatchBuilder(
            spec: canned.spec, seed: 0, randomWords: canned.randomWords, maskWord: canned.maskWord, vectorRows: CannedCorpus.vectorRows)
        // Every size selects something: a hash of zeros would mean nothing.
        for words in [1, 8, 57, 375, 3000] {
            builder.build(canned.documents(words: words), epoch: 0, update: 1, into: batch, choose: CannedCorpus.choose)
            #expect(batch.selectedCount > 0, "\(words) words")
        }
        let share = Double(batch.content.uniqueCount) / 3000
        #expect(share > 0.25 && share < 0.4)
    }

    @Test func aProfileAddsUp() throws {
        var settings = TrainingSettings()
        (settings.width, settings.depth, settings.rows) = (32, 2, 200)
        let profile = try StepProfile.measure(spec: .spacy2(settings), lanes: 2, wordsPerLane: 300, updates: 2)
        #expect(profile.words == 600)
        #expect(abs(profile.rows.reduce(0) { $0 + $1.share } - 1) < 1e-9)
        #expect(profile.efficiency > 0)
        #expect(profile.description.contains("efficiency"))
    }
}
