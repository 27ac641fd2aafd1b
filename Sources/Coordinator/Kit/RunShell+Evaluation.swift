// The held-out documents of a run. In: the losses of an evaluation. Out: the best weights, files that waited, whether the run continues.
import Base
import Formats
import FoundationEssentials
import Output
import Protocol
import Run
import Text

/// When the held-out documents are scored, and the scores so far.
struct RunEvaluation {
    let schedule: EvaluationSchedule
    var history: EvaluationHistory
    /// The parameters that are being scored, or will be next.
    var broadcast: TrainingState.Broadcast?
    var saidNothingSelected = false
}

extension RunShell {
    /// The documents that are held out, if the options ask for any. This reads every prepared shard. A job holds documents out by default;
    /// so if its texts are a single document, or copies of one, it continues without held-out documents, with a warning.
    func chooseHeldOut() throws -> HeldOutDocuments {
        guard let fraction = setup.options.heldOut else { return HeldOutDocuments() }
        var chooser = HeldOutChooser(fraction: fraction)
        for index in setup.keys.indices { chooser.add(try openShard(index).shard, shard: index) }
        if let chosen = chooser.choose() { return chosen }
        let isAskedFor = setup.job == nil || setup.options.patience != nil || setup.options.evaluateEvery != nil
        // There is a separate error for texts without any document.
        guard isAskedFor, chooser.documents > 0 else {
            if chooser.documents > 0 {
                say(.warning, "nothing is held out: the texts are one document or copies of one; there will be no model-best.bin")
            }
            setup.holdNothingOut()
            return HeldOutDocuments()
        }
        throw InputError(
            "no document can be held out: nothing would be left to train on", at: setup.options.textsLoc,
            remedy: "give more texts that differ, or set held_out to 0")
    }

    /// The plan is made. A run that was stopped before an evaluation was complete starts with that evaluation.
    func prepareEvaluation(_ updates: UpdatePlan) {
        guard setup.options.heldOut != nil else { return }
        var made = RunEvaluation(
            schedule: EvaluationSchedule(
                every: setup.options.evaluateEvery, updatesPerEpoch: updates.updatesPerEpoch, words: updates.words),
            history: setup.checkpoint?.state.evaluations ?? EvaluationHistory())
        let first = UInt64(setup.options.epochStart) * updates.updatesPerEpoch
        if training.update > first, made.schedule.isDue(after: training.update), made.history.last?.update != Int(training.update) {
            made.broadcast = training.broadcastForEvaluation()
        }
        evaluation = made
    }

    /// - Parameter nodes: in the tree's order.
    func judge(_ nodes: [CoordinatorStateMachine.Received], _ news: inout [CoordinatorStateMachine.Event]) {
        guard var judged = evaluation, let plan else { return }
        let selected = nodes.reduce(0) { $0 &+ $1.contribution.selected }
        let losses = nodes.flatMap(\.contribution.losses).map(Double.init(bitPattern:))
        let loss = selected == 0 ? nil : losses.reduce(0, +) / Double(selected)
        let isBest = judged.history.add(.init(update: Int(training.update), words: Int(training.wordCount), loss: loss))
        judged.broadcast = nil
        if selected == 0, !judged.saidNothingSelected {
            judged.saidNothingSelected = true
            say(.warning, "no word of the held-out documents is hidden, so nothing can be judged: hold out more of them")
        }
        evaluation = judged
        if isBest { addBestModel() }
        record.append(
            RunEvent(
                "evaluation",
                [
                    ("epoch", .count((training.update - 1) / plan.updates.updatesPerEpoch)), ("nr_word", .count(training.wordCount)),
                    ("loss", .number(loss ?? .nan)), ("best", .flag(isBest)),
                ]))
        settle(plan.updates, after: training.update, isScored: true)
        news.append(.judged(goesOn: !judged.history.isOver(patience: setup.options.patience ?? 0)))
    }

    private func addBestModel() {
        let (folder, bytes) = (setup.folder, modelFile())
        writer.add("model-best.bin", .required) { (logByteCount) throws(InputError) in
            try folder.write(try bytes(), to: "model-best.bin")
            return logByteCount
        }
    }

    /// The held-out loss of the current version as JSON; nil if it was not scored.
    var heldOutLoss: String? {
        guard let score = evaluation?.history.last, score.update == Int(training.update) else { return nil }
        return score.loss.map(SpacyLogLine.number) ?? "null"
    }

    /// Which weights file to use; empty if nothing was scored.
    package var advice: String {
        guard let best = evaluation?.history.best, let loss = best.loss else { return "" }
        return "; the best weights are in model-best.bin: held-out loss \(ProgressText.fixed(loss, 4)) after update \(best.update)"
    }

    /// Why an evaluation has ended the run.
    var reasonForEnd: String {
        guard let history = evaluation?.history, let best = history.best, let loss = best.loss else { return "stopped early" }
        return "stopped early: \(ProgressText.count(history.sinceBest, "evaluation")) brought nothing better than the held-out loss of "
            + "\(ProgressText.fixed(loss, 4)) after update \(best.update), which model-best.bin has"
    }
}
