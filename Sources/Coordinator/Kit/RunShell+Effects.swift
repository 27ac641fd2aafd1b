// Performs the effects of the state machine. In: effects. Out: messages, files, updates, events in return.
import Base
import FoundationEssentials
import Glibc
import Logging
import Output
import Protocol
import Run
import Shards
import Text
import Transport

extension RunShell {
    func perform(_ effect: CoordinatorStateMachine.Effect, _ events: inout [CoordinatorStateMachine.Event]) {
        switch effect {
        case .send(let peer, let message): send(peer, message)
        case .order(let peer, let order, let withParameters):
            send(peer, .begin(order), payload: withParameters ? parameters(for: peer, order.purpose) : nil)
        case .serve(let peer, let request): serve(peer, request, &events)
        case .locate(let shard, let peer): locate(shard, peer, &events)
        case .expect(let shard, let peer, let size, let digest): expect(shard, peer, size, digest)
        case .confirmFault(let peer, let shard, let line): confirmFault(peer, shard, line, &events)
        case .expectGradient(let peer, let number, let byteCount): expectGradient(peer, number, byteCount)
        case .forgetGradient(let peer, let number): forgetGradient(peer, number)
        case .store(let peer, let chunk, let buffer, let last): store(peer, chunk, buffer, last, &events)
        case .makePlan:
            do { try makePlan(&events) } catch { failure = error }
        case .step(let update, let nodes): step(update, nodes, &events)
        case .judge(_, let nodes): judge(nodes, &events)
        case .release(let buffer): buffers[buffer] = nil
        case .drop(let peer): drop(peer)
        case .log(let level, let text): log(level, text)
        case .notice(let notice): note(notice)
        case .fail(let shard, let line, let what, let remedy):
            failure = InputError(what, at: setup.place(shard: shard, line: line), remedy: remedy)
        case .stop: end = .stopped("stopped by a signal")
        case .complete: end = .complete
        case .endEarly: end = .early(reasonForEnd)
        }
    }

    /// A worker that shares memory with this process reads the parameters there; others fetch them unless they are short.
    private func parameters(for peer: PeerID, _ purpose: Purpose) -> ZMQMessage? {
        guard let parameters = purpose == .train ? parameters : evaluation?.broadcast else { return nil }
        guard let known = peers[peer], known.isLocal, let reference = parameters.reference,
            workers?.memory(ofProcess: known.processID) != nil
        else { return parameters.message.count <= WireLimits.piece ? parameters.message : nil }
        return try? ZMQMessage(reference.encoded())
    }

    /// Sends the last messages before the connection is forgotten.
    func drop(_ peer: PeerID) {
        guard let known = peers[peer] else { return }
        for item in known.outbox.map(\.item) {
            _ = listeners[known.address.listener].socket.send(to: known.address.identity, header: item.header, payload: item.payload)
        }
        forget(peer)
    }

    private func serve(_ peer: PeerID, _ request: FetchRequest, _ events: inout [CoordinatorStateMachine.Event]) {
        guard peers.mayServe(peer) else { return }
        if case .parameters(let number) = request.blob { return servePiece(peer, request, number) }
        switch artifacts.answer(request) {
        case .refusal(let what): events.append(.misbehaved(peer, what))
        case .nothing: break
        case .part(let part, let total):
            guard let (bytes, owner) = bytes(of: request), bytes.count == Int(exactly: total) else {
                return say(.warning, "\(request.blob) is missing or has changed; a worker is waiting for it")
            }
            send(
                peer, .chunk(Chunk(blob: request.blob, offset: request.offset, total: total)),
                payload: ZMQMessage(sharing: UnsafeRawBufferPointer(rebasing: bytes[part]), ownedBy: owner))
        }
    }

    /// The state machine serves pieces of the open round only. They are parts of one version in memory, however many peers get them.
    private func servePiece(_ peer: PeerID, _ request: FetchRequest, _ number: UInt32) {
        let rounds = [(Round(training.update, .train), parameters), (Round(training.update, .evaluate), evaluation?.broadcast)]
        guard let message = rounds.first(where: { $0.0.number == number })?.1?.message,
            let part = request.part(of: UInt64(message.count))
        else { return }
        send(
            peer, .chunk(Chunk(blob: request.blob, offset: request.offset, total: UInt64(message.count))),
            payload: ZMQMessage(sharing: UnsafeRawBufferPointer(rebasing: message.data[part]), ownedBy: message))
    }

    /// A blob's bytes and the object that keeps them alive. `artifacts` has checked the request.
    private func bytes(of request: FetchRequest) -> (UnsafeRawBufferPointer, AnyObject)? {
        switch request.blob {
        case .model(let number): return (try? MappedFile(setup.model.bundleFiles[Int(number)].path)).map { ($0.bytes, $0) }
        case .text(let shard):
            let place = setup.index.shards[shard]
            guard let file = try? MappedFile(setup.textPaths[place.file]), place.offset + place.byteCount <= file.bytes.count else {
                return nil
            }
            return (UnsafeRawBufferPointer(rebasing: file.bytes[place.offset..<place.offset + place.byteCount]), file)
        case .prepared(let shard): return setup.cache.contents(setup.keys[shard]).map { ($0.bytes, $0.owner) }
        case .plan: return planBuffer.map { (UnsafeRawBufferPointer($0.bytes), $0) }
        case .rows:
            guard let vectors = setup.vectors else { return nil }
            let bytesPerRow = vectors.width * MemoryLayout<Float>.size
            let buffer = MessageBuffer(byteCount: request.rows.count * bytesPerRow)
            for (index, row) in request.rows.enumerated() {
                let source = UnsafeRawBufferPointer(start: vectors.row(Int(row)), count: bytesPerRow)
                UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[index * bytesPerRow..<(index + 1) * bytesPerRow])
                    .copyMemory(from: source)
            }
            return (UnsafeRawBufferPointer(buffer.bytes), buffer)
        case .parameters, .gradient: return nil
        }
    }

    // MARK: Prepared shards

    private func locate(_ shard: ShardID, _ peer: PeerID, _ events: inout [CoordinatorStateMachine.Event]) {
        guard let entry = setup.cache.entry(setup.keys[shard], schema: setup.schema) else {
            events.append(.shardAbsent(shard, peer))
            return
        }
        note(entry, shard)
        events.append(.shardStored(shard))
    }

    func note(_ entry: (size: UInt64, digest: ShardDigest), _ shard: ShardID) {
        entries[shard] = entry
        artifacts.add(preparedShard: shard, byteCount: entry.size)
    }

    private func expect(_ shard: ShardID, _ peer: PeerID, _ size: UInt64, _ digest: ShardDigest) {
        do {
            incoming[shard] = (peer, try IncomingFile(target: setup.cache.path(setup.keys[shard])), size, digest)
        } catch {
            incoming[shard] = nil
            say(.warning, "\(error)")
        }
    }

    private func store(
        _ peer: PeerID, _ chunk: Chunk, _ buffer: BufferID, _ last: Bool, _ events: inout [CoordinatorStateMachine.Event]
    ) {
        guard let message = buffers.removeValue(forKey: buffer) else { return }
        if case .gradient(let number) = chunk.blob { return store(piece: message, at: chunk.offset, peer, number, last, &events) }
        guard case .prepared(let shard) = chunk.blob else { return }
        guard let arriving = incoming[shard], arriving.peer == peer else {
            events.append(.shardNotStored(shard, peer))
            return
        }
        do {
            try arriving.file.write(message.data, at: chunk.offset)
        } catch {
            // A shard with a hole is discarded.
            incoming[shard] = nil
            say(.warning, "\(error)")
            events.append(.shardNotStored(shard, peer))
            return
        }
        guard last else { return }
        incoming[shard] = nil
        do {
            try setup.cache.take(
                arriving.file, key: setup.keys[shard], schema: setup.schema, size: arriving.size, digest: arriving.digest,
                vectorRows: setup.options.settings.vectorRows)
            note((arriving.size, arriving.digest), shard)
            events.append(.shardStored(shard))
        } catch {
            say(.warning, "\(error)")
            events.append(.shardDamaged(shard, peer))
        }
    }

    /// A single worker's report does not end a run: the line that it names, or the whole shard if it names none, is prepared here too.
    private func confirmFault(_ peer: PeerID, _ shard: ShardID, _ line: Int64, _ events: inout [CoordinatorStateMachine.Event]) {
        let place = setup.index.shards[shard]
        let path = setup.textPaths[place.file]
        guard let file = try? MappedFile(path), place.offset + place.byteCount <= file.bytes.count else {
            return say(.error, "the texts have changed: \(path)")
        }
        var text = file.bytes[place.offset..<place.offset + place.byteCount]
        // Pieces have no lines.
        if line >= 0, setup.job?.text.path != .pieces {
            guard let start = text.start(ofLine: line) else {
                return events.append(.misbehaved(peer, "a fault in line \(line) of shard \(shard), which is shorter"))
            }
            let end = text[start...].firstIndex(of: UInt8(ascii: "\n")) ?? text.endIndex - 1
            text = text[start...].prefix(through: end)
        }
        let settings = setup.options.settings
        do throws(ShardPreparationError) {
            let preparer = ShardPreparer(
                model: setup.model, schema: setup.schema, minLength: settings.minLength, maxLength: settings.maxLength)
            _ = try preparer.prepare(shard: UnsafeRawBufferPointer(rebasing: text))
            events.append(.misbehaved(peer, "a fault in shard \(shard), which has none"))
        } catch {
            let found = line < 0 ? Int64(error.line) : line
            events.append(.faultConfirmed(shard: shard, line: found, what: error.what, remedy: error.remedy))
        }
    }

    // MARK: Plan

    /// A prepared shard in the cache, with its size and digest for the plan.
    func openShard(_ index: ShardID) throws -> (shard: PreparedShard, size: UInt64, digest: ShardDigest) {
        let key = setup.keys[index]
        guard let entry = entries[index],
            let shard = setup.cache.open(key, schema: setup.schema, size: entry.size, digest: entry.digest),
            shard.fits(vectorRows: setup.options.settings.vectorRows)
        else {
            throw StoppedEarly(InputError("prepared shard \(index) is missing from the cache", at: setup.cache.path(key), remedy: goOn))
        }
        return (shard, entry.size, entry.digest)
    }

    private func makePlan(_ events: inout [CoordinatorStateMachine.Event]) throws {
        let settings = setup.options.settings
        var builder = PlanBuilder(
            lanes: settings.lanes, wordsPerUpdate: settings.batchSize, shuffles: setup.job?.training.shuffle ?? true,
            heldOut: try chooseHeldOut())
        for (index, key) in zip(setup.keys.indices, setup.keys) {
            let entry = try openShard(index)
            builder.add(
                entry.shard, lane: setup.laneOfShard[index], firstLine: setup.index.shards[index].firstLine, key: key, size: entry.size,
                digest: entry.digest)
        }
        let documents = builder.documents
        let skipped =
            "\(documents.empty) empty, \(documents.tooShort) shorter than \(settings.minLength) tokens, "
            + "\(documents.tooLong) of \(settings.maxLength) tokens or more"
        guard let made = builder.plan(maskWord: try setup.model.maskWord(schema: setup.schema, ids: setup.job?.maskIDs)) else {
            throw InputError(
                "no document is kept: \(skipped)", at: setup.options.textsLoc,
                remedy: setup.job == nil
                    ? "change --min-length or --max-length, or the texts" : "change the corpus's min_length or max_length, or the texts")
        }
        let (updates, laneWords) = (made.updates, builder.laneWords.elements)
        plan = made
        let encoded = try made.encoded()
        let buffer = MessageBuffer(byteCount: encoded.count)
        buffer.bytes.copyBytes(from: encoded)
        planBuffer = buffer
        artifacts.add(planOf: UInt64(encoded.count))
        words = updates.words
        progress.say(
            "corpus: \(ProgressText.count(documents.kept, "document")), \(updates.words) words kept (\(skipped)"
                + "\(documents.heldOut > 0 ? ", \(documents.heldOut) held out" : "")); "
                + "\(ProgressText.count(updates.updatesPerEpoch, "update")) an epoch in \(ProgressText.count(settings.lanes, "lane"))")
        warnAboutLanes(laneWords)
        try begin(updates)
        prepareEvaluation(updates)
        startEvents(updates, documents: documents.kept)
        let broadcast = training.broadcast()
        parameters = broadcast
        let end = UInt64(setup.options.epochStart + setup.options.nIter) * updates.updatesPerEpoch
        events.append(
            .planned(
                planBytes: UInt64(encoded.count), updatesPerEpoch: updates.updatesPerEpoch, laneWords: laneWords,
                heldOutWords: builder.heldOutWords.elements, first: training.update, end: end, parameterHash: broadcast.hash,
                evaluation: evaluation?.broadcast?.hash))
    }

    /// A new run starts using the output folder here, and its version 0 is on disk before the first update.
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
                "\(options.settings.lanes) lanes do not divide evenly among \(places) threads: some wait for others; "
                    + "--lanes \(better) would"
            )
        }
        if let most = laneWords.max(), let least = laneWords.min(), Double(most) > 1.1 * Double(max(1, least)) {
            say(.warning, "lanes are uneven (\(least) to \(most) words): the corpus is small for --lanes \(options.settings.lanes)")
        }
    }
}

extension Slice<UnsafeRawBufferPointer> {
    /// Where line number `line` begins, counted from 0; nil if there are fewer lines.
    fileprivate func start(ofLine line: Int64) -> Int? {
        var start = startIndex
        for _ in 0..<line {
            guard let end = self[start...].firstIndex(of: UInt8(ascii: "\n")) else { return nil }
            start = end + 1
        }
        return start < endIndex ? start : nil
    }
}
