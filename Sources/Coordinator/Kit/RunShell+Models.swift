// Weights files and their lines in the log. In: the current version. Out: modelN.bin, modelN.temp.bin, model-last.bin, log.jsonl.
import Base
import Output

extension RunShell {
    /// Whether the weights of an epoch that has ended are saved (spaCy 3.8 `training/pretrain.py`): every epoch, or with n_save_epoch = n
    /// every nth and the last.
    func savesModel(ofEpoch epoch: UInt64) -> Bool {
        guard let every = setup.job?.training.saveEpoch else { return true }
        return epoch % UInt64(every) == 0 || epoch + 1 == UInt64(setup.options.epochStart + setup.options.nIter)
    }

    func addModel(epoch: UInt64, temporary: Bool) {
        let (folder, bytes, line, record) = (setup.folder, modelFile(), logLine(epoch: epoch), record)
        let kept = setup.options.keepModels
        let event = temporary ? nil : epochEvent(epoch, file: OutputFolder.modelName(epoch: Int(epoch)))
        writer.add("the weights of epoch \(epoch)", .required) { (logByteCount) throws(InputError) in
            try folder.writeModel(try bytes(), epoch: Int(epoch), temporary: temporary)
            let length = try folder.appendLog(line, after: logByteCount)
            if let event { record.append(event) }
            if let kept, !temporary { try folder.removeModels(before: Int(epoch), keep: kept) }
            return length
        }
    }

    /// spaCy 3 writes this file whenever it ends; a run that an evaluation may end at any time does so too.
    func addLastModel() {
        let isWanted = setup.job.map { !$0.training.skipLast } ?? (setup.options.heldOut != nil)
        guard isWanted, let plan, setup.folder.contents == .run else { return }
        let line = logLine(epoch: training.update / plan.updates.updatesPerEpoch)
        let (folder, bytes) = (setup.folder, modelFile())
        writer.add("model-last.bin", .required) { (logByteCount) throws(InputError) in
            try folder.write(try bytes(), to: "model-last.bin")
            return try folder.appendLog(line, after: logByteCount)
        }
    }

    /// The current weights as a file; the thread that writes the file calls the result.
    func modelFile() -> () throws(InputError) -> [UInt8] {
        let (snapshot, template) = (training.snapshot(), setup.template)
        return { () throws(InputError) in
            guard let template else { return try snapshot.modelFile() }
            return try template.filled(with: snapshot.savedTensors())
        }
    }

    private func logLine(epoch: UInt64) -> String {
        let heldOut = heldOutLoss.map { [("held_out_loss", $0)] } ?? []
        guard setup.job != nil else { return training.logLine(epoch: epoch, more: heldOut) }
        return SpacyLogLine(
            words: training.wordCount, loss: training.loss, epochLoss: training.epochLoss, epoch: epoch,
            more: [("loss_per_selected_word", SpacyLogLine.number(training.epochLossPerWord))] + heldOut
        ).text
    }
}
