//! The worker of the played world: its tasks read, take part in checkpoints, commit and end.

use super::model::{Event, Mail, WORKER, World};
use super::task::{RECORDS, Staged, Task};
use millstream_checkpoint::handle::TaskState;
use millstream_core::checkpoint::{Barrier, CheckpointId};
use millstream_core::ids::ExecutionAttemptId;
use millstream_core::key_group::KeyGroupRange;
use millstream_core::status::ExecutionState;
use millstream_rpc::machine::ReplyTo;
use millstream_rpc::protocol::deployment::TaskDeploymentDescriptor;
use millstream_rpc::protocol::job_master::{
    SnapshotMetrics, TaskExecutionState, TaskFailure, TaskFailureKind, TaskMetrics, ToJobMaster,
};

impl World<'_> {
    /// A task's word that must arrive, and in order.
    pub(super) fn report(
        &mut self,
        attempt: ExecutionAttemptId,
        state: ExecutionState,
        failure: Option<TaskFailure>,
    ) {
        let metrics = TaskMetrics::default();
        let update = TaskExecutionState { attempt, state, failure, metrics };
        let message = ToJobMaster::UpdateTaskExecutionState(Box::new(update));
        let delay_us = 100 + self.rng.below(50_000);
        let last = self.last_word_us.entry(attempt).or_default();
        *last = (self.now_us + delay_us).max(*last + 1);
        let at_us = *last;
        self.asks += 1;
        let reply = ReplyTo { process: WORKER.to_owned(), correlation: self.asks };
        self.say(at_us - self.now_us, message, Some(reply));
    }

    /// A task's word that may get lost.
    pub(super) fn tell_master(&mut self, most_us: u64, message: ToJobMaster) {
        for _ in 0..self.copies() {
            let delay_us = 100 + self.rng.below(most_us);
            self.say(delay_us, message.clone(), None);
        }
    }

    pub(super) fn on_mail(&mut self, attempt: ExecutionAttemptId, mail: Mail) {
        if let Mail::Deploy(descriptor) = mail {
            if self.may_begin(attempt) {
                self.deploy(*descriptor);
            }
            return;
        }
        let Some(task) = self.tasks.get_mut(&attempt) else { return };
        match mail {
            Mail::Deploy(_) => {}
            Mail::Run => {
                task.running = true;
                self.report(attempt, ExecutionState::Running, None);
                self.schedule(5_000, Event::Step(attempt));
            }
            Mail::Cancel => {
                self.end(attempt, ExecutionState::Canceled, None);
            }
            Mail::Split(split) => {
                task.asked = false;
                match split {
                    Some(split) => {
                        task.given += 1;
                        task.reader.push_back((split.0[0], 0));
                    }
                    None => task.drained = true,
                }
            }
            Mail::Trigger(barrier) if barrier.checkpoint > task.last => {
                self.barriers.insert(barrier.checkpoint, barrier);
                match task.source {
                    true => self.snapshot(attempt, &barrier),
                    false => drop(task.triggered.insert(barrier.checkpoint, barrier)),
                }
            }
            Mail::Trigger(_) => {}
            Mail::Completed(checkpoint) => self.on_completed(attempt, checkpoint),
            Mail::Aborted(checkpoint) => task.aborted(checkpoint),
        }
    }

    pub(super) fn deploy(&mut self, descriptor: TaskDeploymentDescriptor) {
        let attempt = descriptor.attempt;
        let index = self.graph.vertices.iter().position(|vertex| vertex.id == attempt.vertex);
        let index = index.expect("a vertex of the job");
        let operator = self.graph.vertices[index].operators[0].id;
        let (max, parallelism) = (descriptor.max_parallelism, descriptor.parallelism);
        let groups = KeyGroupRange::of_subtask(attempt.subtask, max, parallelism);
        let channels = descriptor.gates.iter().flat_map(|gate| &gate.channels);
        let producers = channels.map(|channel| channel.partition.producer).collect();
        let mut task = Task::new(attempt, operator, groups, index == 0, producers);
        let mut finished = false;
        let mut due = Vec::new();
        if let Some(restore) = &descriptor.restore {
            due = task.restore(restore);
            finished = restore.finished;
        }
        self.tasks.insert(attempt, task);
        self.commit(&due);
        if finished {
            // All that is left to do was to commit.
            self.through.insert(attempt);
            return self.end(attempt, ExecutionState::Finished, None);
        }
        let delay_us = 1_000 + self.rng.below(50_000);
        self.schedule(delay_us, Event::Mail(attempt, Mail::Run));
    }

    pub(super) fn on_step(&mut self, attempt: ExecutionAttemptId) {
        let failures = self.knobs.failures;
        if !self.tasks.contains_key(&attempt) {
            return;
        }
        if self.chance(failures) {
            let failure = TaskFailure {
                kind: TaskFailureKind::Recoverable,
                message: "a user function has failed".to_owned(),
                fingerprint: 0,
            };
            return self.end(attempt, ExecutionState::Failed, Some(failure));
        }
        self.pass_barriers(attempt);
        self.go_on(attempt);
        let delay_us = 1_000 + self.rng.below(60_000);
        self.schedule(delay_us, Event::Step(attempt));
    }

    /// Takes part in the newest checkpoint whose barrier has come from all that it reads.
    pub(super) fn pass_barriers(&mut self, attempt: ExecutionAttemptId) {
        let Some(task) = self.tasks.get(&attempt).filter(|task| !task.source) else { return };
        let through = &self.through;
        let later = self.barriers.range(CheckpointId(task.last.0 + 1)..);
        let complete = later.rev().find(|(id, _)| {
            let mut producers = task.producers.iter();
            let given = |producer: &ExecutionAttemptId| self.passed.contains(&(*producer, **id));
            let triggered = task.triggered.contains_key(id);
            let known = triggered || task.producers.iter().any(given);
            known && producers.all(|producer| given(producer) || through.contains(producer))
        });
        if let Some(barrier) = complete.map(|(_, barrier)| *barrier) {
            self.snapshot(attempt, &barrier);
        }
    }

    /// Reads a record, or asks for a split, or comes to its end.
    pub(super) fn go_on(&mut self, attempt: ExecutionAttemptId) {
        let Some(task) = self.tasks.get_mut(&attempt) else { return };
        if task.ended {
            return;
        }
        if !task.source {
            task.ended = task.input_has_ended(&self.through);
        } else if let Some((split, at)) = task.reader.front_mut() {
            task.fresh.push((*split, *at));
            *at += 1;
            if *at == RECORDS {
                task.reader.pop_front();
            }
            return;
        } else if task.drained {
            task.ended = true;
        } else if !std::mem::replace(&mut task.asked, true) {
            self.asks += 1;
            self.asked.insert(self.asks, attempt);
            let reply = ReplyTo { process: WORKER.to_owned(), correlation: self.asks };
            let message = ToJobMaster::RequestNextSplit { vertex: attempt.vertex, attempt };
            return self.say(1_000, message, Some(reply));
        }
        if self.tasks.get(&attempt).is_some_and(|task| task.ended) {
            self.through.insert(attempt);
            self.tell_master(50_000, ToJobMaster::EndOfData { attempt });
        }
    }

    pub(super) fn snapshot(&mut self, attempt: ExecutionAttemptId, barrier: &Barrier) {
        let Some(task) = self.tasks.get_mut(&attempt) else { return };
        let (state, path) = task.snapshot(barrier);
        let checkpoint = barrier.checkpoint;
        // One that has ended sends nothing any more, no barrier either.
        if !task.ended {
            self.passed.insert((attempt, checkpoint));
        }
        self.store.put(&format!("{}/{path}", self.directory), vec![1]);
        let (state, metrics) = (Box::new(state), SnapshotMetrics::default());
        let message = |attempt, checkpoint, state| ToJobMaster::AcknowledgeCheckpoint {
            attempt,
            checkpoint,
            state,
            metrics,
        };
        self.tell_master(400_000, message(attempt, checkpoint, state.clone()));
        let forged = self.knobs.forged;
        if self.chance(forged) && !self.former.is_empty() {
            // A word of an attempt that is gone, about a checkpoint in which it took no part.
            let index = self.rng.below(self.former.len() as u64) as usize;
            let mut state = forged_state(&state);
            let former = self.former[index];
            let operator = self.graph.vertices.iter().find(|vertex| vertex.id == former.vertex);
            let operator = operator.expect("a vertex of the job").operators[0].id;
            let operators = std::mem::take(&mut state.operators).into_values();
            state.operators = operators.map(|state| (operator, state)).collect();
            self.tell_master(50_000, message(former, checkpoint, Box::new(state)));
        }
    }

    pub(super) fn on_completed(&mut self, attempt: ExecutionAttemptId, checkpoint: CheckpointId) {
        let Some(task) = self.tasks.get_mut(&attempt) else { return };
        let due = task.completed(checkpoint);
        let stops = self.barriers.get(&checkpoint).is_some_and(|barrier| barrier.kind.stops());
        let over = task.said.is_some_and(|said| said <= checkpoint) || stops;
        self.commit(&due);
        if over {
            self.end(attempt, ExecutionState::Finished, None);
        }
    }

    /// I1: a record is committed in one transaction, however often that is committed.
    pub(super) fn commit(&mut self, staged: &[Staged]) {
        for (split, at, tx) in staged {
            let former = self.sink.insert((*split, *at), *tx);
            let same = former.is_none_or(|former| former == *tx);
            assert!(same, "record {at} of split {split} is committed twice");
        }
    }

    pub(super) fn end(
        &mut self,
        attempt: ExecutionAttemptId,
        state: ExecutionState,
        failure: Option<TaskFailure>,
    ) {
        if self.tasks.remove(&attempt).is_some() {
            self.former.push(attempt);
            self.report(attempt, state, failure);
        }
    }
}

fn forged_state(state: &TaskState) -> TaskState {
    TaskState { finished: false, splits: 0, ..state.clone() }
}
