// What follows an update. In: the nodes of the tree. Out: the next parameters, or an error; weights, checkpoints and rows that are due.
import Base
import FoundationEssentials
import Output
import Protocol
import Run
import Text

extension RunShell {
    func step(
        _ update: UInt64, _ nodes: [CoordinatorStateMachine.Received], _ news: inout [CoordinatorStateMachine.Event]
    ) {
        do {
            try training.apply(
                nodes.map { node in (node.node, node.contribution, node.buffer.flatMap { buffers[$0] }) })
        } catch {
            stop(before: update, nodes, error)
            return
        }
        for node in nodes { if let buffer = node.buffer { buffers[buffer] = nil } }
        // The buffer of the old message can be reused if no socket holds it.
        parameters = nil
        let broadcast = training.broadcast()
        parameters = broadcast
        guard let plan else { return }
        noteProgress(epoch: update / plan.updates.updatesPerEpoch)
        // The files of a version that is scored have to wait, because their lines in the log contain the score.
        if evaluation?.schedule.isDue(after: update + 1) == true {
            evaluation?.broadcast = training.broadcastForEvaluation()
        } else {
            settle(plan.updates, after: update + 1, isScored: false)
        }
        figuresForMetrics.lastUpdate = Date()
        news.append(.stepped(parameterHash: broadcast.hash, evaluation: evaluation?.broadcast?.hash))
    }

    /// Does what is due after `done` updates: weights, a row, the end of an epoch.
    func settle(_ updates: UpdatePlan, after done: UInt64, isScored: Bool) {
        let (perEpoch, update) = (updates.updatesPerEpoch, done - 1)
        let (epoch, endsEpoch) = (update / perEpoch, done % perEpoch == 0)
        if let every = setup.options.nSaveEvery, (update % perEpoch) % UInt64(every) == 0 { addModel(epoch: epoch, temporary: true) }
        if endsEpoch {
            if savesModel(ofEpoch: epoch) {
                addModel(epoch: epoch, temporary: false)
            } else {
                record.append(epochEvent(epoch, file: nil))
            }
        }
        progress.training(figures(epoch), endsEpoch: endsEpoch, isScored: isScored)
        guard endsEpoch else { return }
        training.endEpoch()
        addCheckpoint(.required)
    }

    /// An update that cannot be applied ends the run before that update, where the run can be resumed.
    private func stop(before update: UInt64, _ nodes: [CoordinatorStateMachine.Received], _ error: TrainingState.UpdateError) {
        switch error {
        case .undecodable(let error): say(.error, "a contribution to update \(update) cannot be decoded: \(error)")
        case .notFinite(let faulty):
            let tree = ReductionTree(lanes: setup.options.settings.lanes)
            let places = nodes.filter { faulty.contains($0.node) }.map { entry in
                "\(words(tree.lanes(below: entry.node), entry.contribution)) of \(machine.name(of: entry.peer))"
            }
            let place = places.isEmpty ? "in the sum of all lanes" : "in " + places.joined(separator: ", ")
            say(
                .error,
                "the gradient or loss of update \(update) is not a finite number (\(place)): resume with --learn-rate "
                    + "\(setup.options.settings.optimizer.learnRate / 2), or look for a broken machine")
        }
        end = .stopped("stopped before update \(update), no part of which was applied")
    }

    /// The lanes below a node, or if their losses show which of them are at fault, only those.
    private func words(_ lanes: Range<LaneID>, _ contribution: Contribution) -> String {
        let faulty = zip(lanes, contribution.losses).filter { !Double(bitPattern: $1).isFinite }.map(\.0)
        let named = faulty.isEmpty ? Array(lanes) : faulty
        return named.count == 1 ? "lane \(named[0])" : "lanes \(named.map(\.description).joined(separator: ", "))"
    }

    private func figures(_ epoch: UInt64) -> ProgressFigures {
        var figures = ProgressFigures()
        (figures.epoch, figures.lastEpoch) = (epoch, UInt64(setup.options.epochStart + setup.options.nIter) - 1)
        (figures.words, figures.totalWords) = (training.wordCount, words * UInt64(setup.options.nIter))
        (figures.totalLoss, figures.epochLoss) = (training.loss, training.epochLossPerWord)
        figures.workers = machine.workerCount
        (figures.holdsOut, figures.heldOutLoss) = (evaluation != nil, evaluation?.history.last?.loss)
        return figures
    }

    // MARK: Files

    func checkpointWhenDue(_ now: Milliseconds) {
        guard plan != nil, cadence.isDue(at: now, filesWaiting: writer.pending) else { return }
        addCheckpoint(.optional)
    }

    func addCheckpoint(_ importance: OutputWriter.Importance) {
        guard let plan else { return }
        cadence.taken(at: Startup.milliseconds())
        let snapshot = training.snapshot()
        snapshot.state.corpusHash = setup.index.digest
        snapshot.state.vectorsHash = setup.model.vectorsDigest
        snapshot.state.extra["model"] = setup.model.digest
        snapshot.state.evaluations = evaluation?.history
        if let digest = setup.jobDigest { snapshot.state.extra["job"] = digest }
        snapshot.state.epoch = Int(training.update / plan.updates.updatesPerEpoch)
        snapshot.state.epochUpdate = Int(training.update % plan.updates.updatesPerEpoch)
        let tables = [
            NamedWords(name: "random_words", shape: [plan.randomWordFigures.count], values: plan.randomWordFigures)
        ]
        let (clock, record) = (checkpointClock, record)
        let (folder, options, words) = (setup.folder, setup.options, training.wordCount)
        writer.add("checkpoint of update \(training.update)", importance) { (logByteCount) throws(InputError) in
            snapshot.state.logByteCount = logByteCount
            try folder.save(snapshot.checkpoint(configuration: try options.encoded(), tables: tables), keep: options.keepCheckpoints)
            clock.date.withLock { $0 = Date() }
            record.append(
                RunEvent(
                    "checkpoint",
                    [
                        ("file", .text(folder.checkpointName(update: snapshot.state.update))),
                        ("update", .count(UInt64(snapshot.state.update))), ("epoch", .count(UInt64(snapshot.state.epoch))),
                        ("nr_word", .count(words)),
                    ]))
            return logByteCount
        }
    }
}
