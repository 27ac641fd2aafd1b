// What the state machine wants done. In: effects. Out: messages, files, updates, events back.
import Base
import FoundationEssentials
import Glibc
import Logging
import Numerics
import Protocol
import Run
import Text
import Transport

extension RunShell {
    func perform(_ effect: CoordinatorStateMachine.Effect, _ events: inout [CoordinatorStateMachine.Event]) {
        switch effect {
        case .send(let peer, let message): send(peer, message)
        case .order(let peer, let order, let withParameters):
            send(peer, .begin(order), payload: withParameters ? parameters(for: peer) : nil)
        case .serve(let peer, let request): serve(peer, request)
        case .look(let shard, let peer, let size, let digest): look(shard, peer, size, digest, &events)
        case .store(let peer, let chunk, let buffer, let last): store(peer, chunk, buffer, last, &events)
        case .makePlan:
            do { try makePlan(&events) } catch { failure = error }
        case .step(let update, let nodes): step(update, nodes, &events)
        case .release(let buffer): buffers[buffer] = nil
        case .drop(let peer): drop(peer)
        case .log(let level, let text): say(level == .info ? .info : level == .warning ? .warning : .error, text)
        case .fail(let shard, let line, let what, let remedy):
            failure = InputError(what, at: setup.place(shard: shard, line: line), remedy: remedy)
        case .stop: end = .stopped("stopped by a signal")
        case .complete: end = .complete
        }
    }

    /// A worker that shares memory with this process finds the parameters where they were made.
    private func parameters(for peer: PeerID) -> ZMQMessage? {
        guard let parameters else { return nil }
        guard let connection = connections[peer], connection.isLocal, let reference = parameters.reference,
            workers?.memory(ofProcess: connection.processID) != nil
        else { return parameters.message }
        return try? ZMQMessage(reference.encoded())
    }

    /// The last words go out before the connection is forgotten.
    func drop(_ peer: PeerID) {
        guard let connection = connections[peer] else { return }
        for item in connection.outbox {
            _ = listeners[connection.address.listener].socket.send(
                to: connection.address.identity, header: item.header, payload: item.payload)
        }
        forget(peer)
    }

    private func serve(_ peer: PeerID, _ request: FetchRequest) {
        guard let (bytes, owner, total) = bytes(of: request) else {
            say(.warning, "a worker asked for something that is not there (\(request.blob))")
            return
        }
        let chunk = Chunk(blob: request.blob, offset: request.offset, total: total)
        send(peer, .chunk(chunk), payload: ZMQMessage(sharing: bytes, ownedBy: owner))
    }

    /// The bytes that a request names, what keeps them alive, and the blob's size.
    private func bytes(of request: FetchRequest) -> (UnsafeRawBufferPointer, AnyObject, UInt64)? {
        func part(_ file: MappedFile, from start: Int, size: Int) -> (UnsafeRawBufferPointer, AnyObject, UInt64)? {
            guard request.offset < UInt64(size), start + size <= file.bytes.count else { return nil }
            let offset = Int(request.offset)
            let end = min(size, offset + Int(request.length))
            return (UnsafeRawBufferPointer(rebasing: file.bytes[start + offset..<start + end]), file, UInt64(size))
        }
        switch request.blob {
        case .model(let number):
            guard Int(number) < setup.model.bundleFiles.count, let file = try? MappedFile(setup.model.bundleFiles[Int(number)].path) else {
                return nil
            }
            return part(file, from: 0, size: file.bytes.count)
        case .text(let shard):
            guard Int(shard) < setup.index.shards.count, let file = try? MappedFile(setup.textsPath) else { return nil }
            return part(file, from: setup.index.shards[Int(shard)].offset, size: setup.index.shards[Int(shard)].byteCount)
        case .prepared(let shard):
            guard Int(shard) < setup.keys.count, let file = try? MappedFile(setup.cache.path(setup.keys[Int(shard)])) else { return nil }
            return part(file, from: 0, size: file.bytes.count)
        case .plan:
            guard Int(request.offset) < planBytes.count else { return nil }
            let end = min(planBytes.count, Int(request.offset) + Int(request.length))
            let buffer = MessageBuffer(byteCount: end - Int(request.offset))
            buffer.bytes.copyBytes(from: planBytes[Int(request.offset)..<end])
            return (UnsafeRawBufferPointer(buffer.bytes), buffer, UInt64(planBytes.count))
        case .rows: return rows(request.rows)
        case .parameters: return nil
        }
    }

    private func rows(_ list: [UInt32]) -> (UnsafeRawBufferPointer, AnyObject, UInt64)? {
        let bytesPerRow = setup.vectors.width * 4
        guard !list.isEmpty, list.count * bytesPerRow <= WireLimits.chunk || list.count == 1,
            list.allSatisfy({ Int($0) < setup.vectors.rows })
        else { return nil }
        let buffer = MessageBuffer(byteCount: list.count * bytesPerRow)
        for (index, row) in list.enumerated() {
            let source = UnsafeRawBufferPointer(start: setup.vectors.row(Int(row)), count: bytesPerRow)
            UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[index * bytesPerRow..<(index + 1) * bytesPerRow]).copyMemory(from: source)
        }
        return (UnsafeRawBufferPointer(buffer.bytes), buffer, UInt64(list.count * bytesPerRow))
    }

    // MARK: Prepared shards

    private func look(
        _ shard: UInt32, _ peer: PeerID, _ size: UInt64, _ digest: [UInt8], _ events: inout [CoordinatorStateMachine.Event]
    ) {
        if let entry = setup.cache.entry(setup.keys[Int(shard)], schema: setup.schema) {
            entries[shard] = entry
            events.append(.shardStored(shard))
        } else {
            if incoming[shard] == nil, let file = try? IncomingFile(target: setup.cache.path(setup.keys[Int(shard)]), size: size) {
                incoming[shard] = (file, size, digest)
            }
            events.append(.shardAbsent(shard, peer, size: size))
        }
    }

    private func store(
        _ peer: PeerID, _ chunk: Chunk, _ buffer: BufferID, _ last: Bool, _ events: inout [CoordinatorStateMachine.Event]
    ) {
        guard let message = buffers.removeValue(forKey: buffer), case .prepared(let shard) = chunk.blob, let arriving = incoming[shard]
        else { return }
        do {
            try arriving.file.write(message.data, at: chunk.offset)
            guard last else { return }
            incoming[shard] = nil
            let contents = try arriving.file.contents()
            guard PreparedCache.digest(contents.bytes) == arriving.digest else {
                throw InputError("prepared shard \(shard) arrived damaged", at: "a worker", remedy: "it is fetched again")
            }
            _ = try PreparedShard(bytes: contents.bytes, owner: contents, schema: setup.schema, place: "prepared shard \(shard)")
            try arriving.file.finish()
            entries[shard] = (arriving.size, arriving.digest)
            events.append(.shardStored(shard))
        } catch {
            say(.warning, "\(error)")
            incoming[shard] = nil
        }
    }

    // MARK: Plan

    private func makePlan(_ events: inout [CoordinatorStateMachine.Event]) throws {
        let settings = setup.options.settings
        var counts = WordCounts()
        var laneWords = [UInt64](repeating: 0, count: settings.lanes)
        var planned: [RunPlan.PlannedShard] = []
        var (documents, empty, short, long) = (0, 0, 0, 0)
        for (index, key) in setup.keys.enumerated() {
            guard let entry = entries[UInt32(index)],
                let shard = setup.cache.open(key, schema: setup.schema, size: entry.size, digest: entry.digest)
            else {
                throw StoppedEarly(
                    InputError("prepared shard \(index) has gone from the cache", at: setup.cache.path(key), remedy: goOn))
            }
            counts.add(shard)
            laneWords[setup.laneOfShard[index]] += UInt64(shard.tokens.count)
            documents += shard.documentCount
            empty += shard.emptyCount
            short += shard.tooShortCount
            long += shard.tooLongCount
            planned.append(
                .init(
                    lane: setup.laneOfShard[index], firstLine: UInt64(setup.index.shards[index].firstLine), key: key.hex,
                    byteCount: entry.size, digest: entry.digest.hex))
        }
        let skipped = "\(empty) empty, \(short) shorter than \(settings.minLength) tokens, \(long) of \(settings.maxLength) tokens or more"
        guard documents > 0 else {
            throw InputError(
                "no document is kept: \(skipped)", at: setup.options.textsLoc, remedy: "change --min-length or --max-length, or the texts")
        }
        let frequent = counts.mostFrequent(RandomWordTable.limit)
        let random = RandomWordTable(words: frequent.map(\.features), counts: frequent.map(\.count))
        let updates = UpdatePlan(laneWords: laneWords, batchSize: settings.batchSize)
        let maskWord = setup.model.features(of: "[MASK]", schema: setup.schema)
        let made = RunPlan(updates: updates, shards: planned, randomWords: random, maskWord: maskWord)
        plan = made
        planBytes = made.encoded()
        words = updates.words
        progress.say(
            "corpus: \(ProgressText.count(documents, "document")), \(updates.words) words kept (\(skipped)); "
                + "\(ProgressText.count(updates.updatesPerEpoch, "update")) an epoch in \(ProgressText.count(settings.lanes, "lane"))")
        warnAboutLanes(laneWords)
        try begin(updates)
        let broadcast = training.broadcast()
        parameters = broadcast
        let end = UInt64(setup.options.epochStart + setup.options.nIter) * updates.updatesPerEpoch
        events.append(
            .planned(
                planBytes: UInt64(planBytes.count), updatesPerEpoch: updates.updatesPerEpoch, first: training.update, end: end,
                parameterHash: broadcast.hash))
    }

    /// A new run enters the output folder here, and its version 0 is on disk before the first update.
    private func begin(_ updates: UpdatePlan) throws {
        if setup.checkpoint == nil {
            training.start(at: UInt64(setup.options.epochStart) * updates.updatesPerEpoch)
            try setup.begin()
            addCheckpoint(.required)
            writer.drain()
            if let failure = writer.news().failure { throw stopped(by: failure) }
            try setup.commit()
        }
        cadence.taken(at: Startup.milliseconds())
        let epochs = setup.options.epochStart + setup.options.nIter
        progress.say("training: epochs \(training.update / updates.updatesPerEpoch) to \(epochs - 1)")
    }

    private func warnAboutLanes(_ laneWords: [UInt64]) {
        let options = setup.options
        let places = options.workers * options.threads
        if options.workers > 0, options.bind == nil, options.settings.lanes % places != 0 {
            let better = (options.settings.lanes + places - 1) / places * places
            say(
                .warning,
                "\(options.settings.lanes) lanes do not divide evenly among \(places) workers: some wait for others; "
                    + "--lanes \(better) would"
            )
        }
        if let most = laneWords.max(), let least = laneWords.min(), Double(most) > 1.1 * Double(max(1, least)) {
            say(.warning, "lanes are uneven (\(least) to \(most) words): the corpus is small for --lanes \(options.settings.lanes)")
        }
    }

    // MARK: Updates

    private func step(
        _ update: UInt64, _ nodes: [CoordinatorStateMachine.Received], _ events: inout [CoordinatorStateMachine.Event]
    ) {
        do {
            try training.apply(
                nodes.map { node in (node.node, node.contribution, node.buffer.flatMap { buffers[$0] }) })
        } catch {
            failure = InputError(
                "a contribution to update \(update) cannot be decoded: \(error)", at: "a worker",
                remedy: "install the same t2v everywhere and resume")
            return
        }
        for node in nodes { if let buffer = node.buffer { buffers[buffer] = nil } }
        guard training.loss.isFinite else {
            failure = StoppedEarly(
                InputError(
                    "the loss of update \(update) is not a finite number", at: "training",
                    remedy: "go on from the last checkpoint with `t2v-coordinator resume \(setup.folder.path) --learn-rate "
                        + "\(setup.options.settings.optimizer.learnRate / 2)`, or look for a broken worker"))
            return
        }
        // The old message's buffer can be used again when no socket holds it.
        parameters = nil
        let broadcast = training.broadcast()
        parameters = broadcast
        guard let plan else { return }
        let (perEpoch, done) = (plan.updates.updatesPerEpoch, update + 1)
        if let every = setup.options.nSaveEvery, (update % perEpoch) % UInt64(every) == 0 {
            addModel(epoch: update / perEpoch, temporary: true)
        }
        if done % perEpoch == 0 {
            addModel(epoch: update / perEpoch, temporary: false)
        }
        progress.training(figures(update / perEpoch), endsEpoch: done % perEpoch == 0)
        if done % perEpoch == 0 {
            training.endEpoch()
            addCheckpoint(.required)
        }
        figuresForMetrics.lastUpdate = Date()
        events.append(.stepped(parameterHash: broadcast.hash))
    }

    private func figures(_ epoch: UInt64) -> ProgressFigures {
        var figures = ProgressFigures()
        (figures.epoch, figures.lastEpoch) = (epoch, UInt64(setup.options.epochStart + setup.options.nIter) - 1)
        (figures.words, figures.totalWords) = (training.wordCount, words * UInt64(setup.options.nIter))
        (figures.totalLoss, figures.epochLoss) = (training.loss, training.epochLossPerWord)
        figures.workers = machine.workerCount
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
        snapshot.state.epoch = Int(training.update / plan.updates.updatesPerEpoch)
        snapshot.state.epochUpdate = Int(training.update % plan.updates.updatesPerEpoch)
        let tables = [
            NamedWords(name: "random_words", shape: [plan.randomWordFigures.count], values: plan.randomWordFigures)
        ]
        let news = noteCheckpoint
        let (folder, options) = (setup.folder, setup.options)
        writer.add("checkpoint of update \(training.update)", importance) { (logByteCount) throws(InputError) in
            snapshot.state.logByteCount = logByteCount
            try folder.save(snapshot.checkpoint(configuration: try options.encoded(), tables: tables), keep: options.keepCheckpoints)
            news()
            return logByteCount
        }
    }

    /// Called by the helper thread.
    private var noteCheckpoint: @Sendable () -> Void {
        let clock = checkpointClock
        return { clock.date.withLock { $0 = Date() } }
    }

    private func addModel(epoch: UInt64, temporary: Bool) {
        let snapshot = training.snapshot()
        let folder = setup.folder
        let line = training.logLine(epoch: epoch)
        writer.add("the weights of epoch \(epoch)", .required) { (logByteCount) throws(InputError) in
            try folder.writeModel(try snapshot.modelFile(), epoch: Int(epoch), temporary: temporary)
            return try folder.appendLog(line, after: logByteCount)
        }
    }
}
