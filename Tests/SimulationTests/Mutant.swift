// Machines that are wrong on purpose. In: a mutation by name. Out: the machines' events, effects and states, changed as a bug would.
@testable import Core

/// Bugs that the simulation must find: the test of the test.
enum Mutation: String, CaseIterable {
    case forgetsReminders
}

/// Stands between a machine and its shell. Without a mutation everything passes as it is.
final class Mutant {
    let mutation: Mutation?
    init(_ mutation: Mutation?) { self.mutation = mutation }

    func rewrite(_ event: WorkerStateMachine.Event) -> [WorkerStateMachine.Event] { [event] }
    func rewrite(_ effects: [WorkerStateMachine.Effect]) -> [WorkerStateMachine.Effect] { effects }
    func rewrite(_ event: CoordinatorStateMachine.Event, _ machine: inout CoordinatorStateMachine) -> [CoordinatorStateMachine.Event] {
        [event]
    }
    func rewrite(
        _ effects: [CoordinatorStateMachine.Effect], after event: CoordinatorStateMachine.Event, _ machine: inout CoordinatorStateMachine
    ) -> [CoordinatorStateMachine.Effect] { effects }
}
