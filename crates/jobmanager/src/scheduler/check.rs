//! The invariants of the scheduler.
//!
//! - whoever is scheduled or on a worker has a share of its slot, and nobody else but those who
//!   will start over;
//! - whoever is on a worker is where its shared slot is;
//! - whoever will start over is over or on its way there;
//! - once the job stops, nothing is alive but what is being cancelled.

use super::Scheduler;
use crate::execution_graph::ExecutionVertexId;
use millstream_core::status::ExecutionState;

impl Scheduler {
    /// Panics if an invariant is broken.
    pub fn check(&self) {
        self.graph.check(|id| self.restarts.contains(id));
        self.slots.check();
        self.restarts.check();
        for id in self.graph.ids() {
            self.check_slot(id);
            self.check_phase(id);
            self.check_is_waited_for(id);
        }
    }

    /// Whoever is not scheduled waits for producers that will produce.
    fn check_is_waited_for(&self, id: ExecutionVertexId) {
        let waits = self.graph.state(id) == ExecutionState::Created && !self.restarts.contains(id);
        if !waits {
            return;
        }
        for (_, edge) in self.graph.graph().inputs_of(id.vertex) {
            for producer in self.graph.lost_producers(edge, id.subtask) {
                assert!(
                    self.restarts.contains(producer),
                    "execution {} waits for {}, whose output is lost for good",
                    self.graph.attempt_id(id),
                    self.graph.task_name(producer)
                );
            }
        }
    }

    fn check_slot(&self, id: ExecutionVertexId) {
        let execution = self.graph.execution(id);
        let state = execution.state();
        let needs = state == ExecutionState::Scheduled || execution.is_on_worker();
        let has = self.slots.is_reserved(id);
        let may_have = needs || (self.restarts.contains(id) && state.is_terminal());
        let attempt = self.graph.attempt_id(id);
        assert!(has || !needs, "execution {attempt} is {state} without a slot");
        assert!(!has || may_have, "execution {attempt} is {state} and keeps a slot");
        if execution.is_on_worker() {
            assert_eq!(
                execution.place(),
                self.slots.place_of(id),
                "execution {attempt} is {state}, but not in its slot"
            );
        }
    }

    fn check_phase(&self, id: ExecutionVertexId) {
        let execution = self.graph.execution(id);
        let (state, attempt) = (execution.state(), self.graph.attempt_id(id));
        if self.restarts.contains(id) {
            assert!(
                !execution.is_running() && state != ExecutionState::Scheduled && !self.stopping,
                "execution {attempt} will start over and is {state}"
            );
        }
        if self.stopping {
            assert!(
                state.is_terminal() || state == ExecutionState::Canceling,
                "the job stops and execution {attempt} is {state}"
            );
        }
        let waits = self.waiting.contains(&self.graph.region_of(id));
        assert_eq!(
            waits,
            state == ExecutionState::Scheduled,
            "execution {attempt} is {state}, its region waits for slots: {waits}"
        );
    }
}
