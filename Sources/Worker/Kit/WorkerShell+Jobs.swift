// Jobs that may need blobs first. In: shards to prepare, the plan, lanes to open. Out: blobs that are missing, results as events.
import Base
import FoundationEssentials
import Glibc
import Numerics
import Protocol
import Run
import Shards
import Text

extension ComputeThread {
    /// Forgets what belongs to an earlier run.
    private func begin(_ generation: Int) {
        guard self.generation != generation else { return }
        (engine, builder, evaluator, preparer) = (nil, nil, nil, nil)
        self.generation = generation
    }

    /// The thread's evaluator, which scores held-out documents; made once.
    func evaluator(for run: RunContext, _ plan: RunPlan, _ generation: Int) -> Evaluator? {
        guard let (engine, _) = ready(for: run, plan, generation), let words = run.words else { return nil }
        if let evaluator { return evaluator }
        let settings = run.description.settings
        // As many words at a time as a micro-batch of training has.
        let made = Evaluator(
            engine: engine, spec: run.description.spec, seed: settings.seed, randomWords: words.random, maskWord: words.mask,
            vectorRows: settings.vectorRows, wordsAtATime: settings.wordsPerLane)
        evaluator = made
        return made
    }

    /// The thread's engine and builder for this run, made once.
    func ready(for run: RunContext, _ plan: RunPlan, _ generation: Int) -> (GradientEngine, MicroBatchBuilder)? {
        begin(generation)
        guard let words = run.words, run.vectors != nil || run.description.spec.vectorWidth == nil else { return nil }
        if let engine, let builder { return (engine, builder) }
        let settings = run.description.settings
        let made = (
            GradientEngine(
                spec: run.description.spec, layout: run.layout, vectors: run.vectors, wordsPerLane: settings.wordsPerLane,
                packed: run.packed, idle: queue),
            MicroBatchBuilder(
                spec: run.description.spec, seed: settings.seed, randomWords: words.random, maskWord: words.mask,
                vectorRows: settings.vectorRows)
        )
        (engine, builder) = made
        return made
    }

    func preparer(for run: RunContext, _ generation: Int) throws(InputError) -> ShardPreparer {
        begin(generation)
        if let preparer { return preparer }
        let settings = run.description.settings
        let made = ShardPreparer(model: try run.model(), schema: run.schema, minLength: settings.minLength, maxLength: settings.maxLength)
        preparer = made
        return made
    }
}

extension WorkerShell {
    func locate(_ job: Job, _ ticket: WorkerStateMachine.Ticket?, _ events: inout [WorkerStateMachine.Event]) {
        guard let run else { return }
        switch (job, ticket) {
        case (.prepare(let shard), .shard(let textBytes, let key)):
            preparedKeys[shard] = key
            if let entry = run.cache.entry(key, schema: run.schema) {
                events.append(.prepared(shard: shard, size: entry.size, digest: entry.digest))
                return
            }
            var wanted: [Wanted] = []
            for file in run.missingModelFiles() {
                let blob = BlobID.model(file.index)
                if let failure = expectFile(blob, file.path) {
                    events.append(.failed(job, failure))
                    return
                }
                wanted.append(Wanted(blob: blob, total: file.byteCount))
            }
            blobs.expect(.text(shard), byteCount: textBytes)
            wanted.append(Wanted(blob: .text(shard), total: textBytes))
            events.append(.needs(job, wanted))
        case (.plan, .plan(let byteCount)):
            blobs.expect(.plan, byteCount: byteCount)
            events.append(.needs(job, [Wanted(blob: .plan, total: byteCount)]))
        case (.lane(let lane), _): locateShards(ofLane: lane)
        case (.prepare, _), (.plan, _): break
        }
    }

    /// Creates a file for a blob. - Returns: why that failed, or nil.
    private func expectFile(_ blob: BlobID, _ path: String) -> String? {
        if blobs.isExpected(blob) { return nil }
        do {
            let folder = Path.parent(path)
            try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            blobs.expect(blob, file: try IncomingFile(target: path))
            return nil
        } catch {
            return "\(error)"
        }
    }

    /// Finds out which prepared shards of a lane are missing here, on a compute thread because this reads them all.
    private func locateShards(ofLane lane: LaneID) {
        guard let run, let plan = run.plan else { return }
        let post = poster()
        queue.add(.prepare) { [weak self] _ in
            var missing: [ShardID] = []
            for index in plan.shards(ofLane: lane) where run.openShard(plan.shards[index]) == nil { missing.append(index) }
            let wanted = missing.map { Wanted(blob: .prepared($0), total: plan.shards[$0].byteCount) }
            post {
                if let failure = self?.expectShards(missing, plan) { return .failed(.lane(lane), failure) }
                return .needs(.lane(lane), wanted)
            }
        }
    }

    /// - Returns: why their files could not be created, or nil.
    private func expectShards(_ shards: [ShardID], _ plan: RunPlan) -> String? {
        guard let run else { return nil }
        for index in shards {
            if let failure = expectFile(.prepared(index), run.cache.path(plan.shards[index].key)) { return failure }
        }
        return nil
    }

    func store(_ chunk: Chunk, _ buffer: BufferID, _ events: inout [WorkerStateMachine.Event]) {
        guard let message = buffers.removeValue(forKey: buffer) else { return }
        if case .parameters = chunk.blob { return store(piece: chunk, message.data) }
        do {
            try blobs.store(chunk, message.data)
        } catch {
            events.append(.notStored(chunk.blob, "\(error)"))
        }
    }

    private func store(piece: Chunk, _ bytes: UnsafeRawBufferPointer) {
        guard let run else { return }
        if arriving == nil { arriving = ArrivingParameters(byteCount: run.parameterCoding.byteCount) }
        arriving?.store(piece, bytes)
    }

    func start(_ job: Job, _ events: inout [WorkerStateMachine.Event]) {
        guard let run else { return }
        let (generation, post) = (generation, poster())
        do {
            switch job {
            case .prepare(let shard):
                for index in run.description.modelFiles.indices { try blobs.takeFile(.model(UInt32(index)))?.finish() }
                guard let text = blobs.take(.text(shard)), let key = preparedKeys[shard] else {
                    return events.append(.failed(job, "the text of shard \(shard) was not kept"))
                }
                queue.add(.prepare) { thread in
                    let event = thread.prepare(shard, text, key, run, generation)
                    post { event }
                }
            case .plan:
                guard let bytes = blobs.take(.plan) else { return events.append(.failed(job, "the plan was not kept")) }
                let settings = run.description.settings
                let plan = try RunPlan.decode(bytes, settings: settings)
                run.words = try plan.words(schema: run.schema, vectorRows: settings.vectorRows)
                run.plan = plan
                if run.vectors == nil, run.description.spec.vectorWidth != nil {
                    run.vectors =
                        try run.isLocal
                        ? run.localVectors() : FetchedRows(rows: settings.vectorRows, width: settings.vectorWidth, folder: run.cache.folder)
                }
                events.append(.planOpened(updatesPerEpoch: plan.updates.updatesPerEpoch))
            case .lane(let lane): try open(lane, run)
            }
        } catch {
            events.append(.failed(job, "\(error)"))
        }
    }

    private func open(_ lane: LaneID, _ run: RunContext) throws(InputError) {
        guard let plan = run.plan else { return }
        let indices = plan.shards(ofLane: lane)
        for index in indices {
            // Its digest is checked before the file gets its name, under which a later run will find it.
            let shard = plan.shards[index]
            guard let file = blobs.takeFile(.prepared(index)) else { continue }
            let rows = run.description.settings.vectorRows
            try run.cache.take(file, key: shard.key, schema: run.schema, size: shard.byteCount, digest: shard.digest, vectorRows: rows)
        }
        if let rows = run.vectors as? FetchedRows {
            // Rows for other lanes may still be missing.
            for (number, list) in rowLists where list.lane == lane {
                guard let bytes = blobs.take(.rows(number)) else { continue }
                rows.store(list.rows, bytes)
                rowLists[number] = nil
            }
        }
        let post = poster()
        queue.add(.prepare) { [weak self] _ in
            var sources: [LaneReader.Source] = []
            for index in indices {
                guard let shard = run.openShard(plan.shards[index]) else {
                    post { .failed(.lane(lane), "prepared shard \(index) arrived damaged") }
                    return
                }
                let heldOut = plan.heldOut?.documents(ofShard: index) ?? []
                guard heldOut.allSatisfy({ Int($0) < shard.documentCount }) else {
                    post { .failed(.lane(lane), "the plan holds out documents that shard \(index) does not have") }
                    return
                }
                sources.append(LaneReader.Source(shard: shard, firstLine: plan.shards[index].firstLine, heldOut: heldOut))
            }
            let reader = LaneReader(
                lane: lane, sources: sources, seed: run.description.settings.seed, plan: plan.updates)
            // Otherwise the lane's documents would not end where the plan says.
            guard reader.words == plan.updates.laneWords[lane.rawValue] else {
                post { .failed(.lane(lane), "lane \(lane) has a different number of words than the plan says") }
                return
            }
            let needed = run.isLocal ? [] : run.neededRows(sources.map(\.shard), plan)
            let work = LaneWork(lane: lane, reader: reader)
            post { self?.opened(work, needed) }
        }
    }

    /// The lane's shards are mapped; requests missing vector rows, or if there are none, the lane is ready.
    private func opened(_ work: LaneWork, _ needed: Set<UInt32>) -> WorkerStateMachine.Event? {
        guard let run else { return nil }
        if let rows = run.vectors as? FetchedRows {
            let missing = rows.missing(needed)
            let bytesPerRow = run.description.settings.vectorWidth * 4
            let perList = max(1, min(WireLimits.list, WireLimits.chunk / bytesPerRow))
            var wanted: [Wanted] = []
            for start in stride(from: 0, to: missing.count, by: perList) {
                let list = Array(missing[start..<min(missing.count, start + perList)])
                rowLists[nextRowList] = (work.lane, list)
                blobs.expect(.rows(nextRowList), byteCount: UInt64(list.count * bytesPerRow))
                wanted.append(Wanted(blob: .rows(nextRowList), total: UInt64(list.count * bytesPerRow), rows: list))
                nextRowList += 1
            }
            if !wanted.isEmpty { return .needs(.lane(work.lane), wanted) }
        }
        lanes[work.lane] = work
        return .laneOpened(work.lane)
    }
}

extension ComputeThread {
    fileprivate func prepare(_ shard: ShardID, _ text: [UInt8], _ key: CacheKey, _ run: RunContext, _ generation: Int)
        -> WorkerStateMachine.Event
    {
        do {
            let preparer = try preparer(for: run, generation)
            let bytes: [UInt8]
            do {
                bytes = try text.withUnsafeBytes { try preparer.prepare(shard: $0) }
            } catch let error as ShardPreparationError {
                return .prepareFailed(shard: shard, line: Int64(error.line), what: error.what, remedy: error.remedy)
            }
            try run.cache.store(bytes, key: key)
            let digest = bytes.withUnsafeBytes(PreparedCache.digest)
            return .prepared(shard: shard, size: UInt64(bytes.count), digest: digest)
        } catch {
            return .failed(.prepare(shard: shard), "\(error)")
        }
    }
}

extension RunContext {
    func openShard(_ planned: RunPlan.PlannedShard) -> PreparedShard? {
        guard let shard = cache.open(planned.key, schema: schema, size: planned.byteCount, digest: planned.digest),
            shard.fits(vectorRows: description.settings.vectorRows)
        else { return nil }
        return shard
    }

    /// The coordinator's own vectors file, mapped.
    func localVectors() throws(InputError) -> any VectorRows {
        guard let table = try model().vectors else {
            throw InputError("the vectors model has no vectors", at: modelFolder, remedy: "do not change the model during a run")
        }
        return table
    }
}
