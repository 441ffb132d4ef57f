//! What must hold of the played world at every step, and at its end.

use super::model::World;
use super::task::{RECORDS, writer_of};
use millstream_checkpoint::handle::{FileName, TaskState};
use millstream_checkpoint::metadata::{CheckpointMetadata, METADATA_FILE, decode};
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::JobVertexId;
use millstream_core::status::{ExecutionState, JobStatus};
use millstream_jobmanager::job_master::{JobMaster, JobMasterOp};
use millstream_rpc::protocol::deployment::TaskDeploymentDescriptor;
use std::collections::BTreeSet;

impl World<'_> {
    /// I6: what is written holds a word of everybody who counts.
    pub(super) fn check_work(&mut self, number: usize, what: &JobMasterOp) {
        let JobMasterOp::WriteMetadata { directory, bytes, .. } = what else { return };
        let metadata = decode(bytes, directory).expect("what is written can be read");
        for (vertex, subtask, state) in subtasks(&metadata) {
            let id = metadata.checkpoint;
            let writer = writer_of(state);
            assert!(
                writer.is_some() || state.finished,
                "checkpoint {id} has no word of {vertex} {subtask}"
            );
        }
        self.check_writers(number, &metadata);
        self.metadata.insert(metadata.checkpoint, metadata);
    }

    /// Whoever has acknowledged it and has not finished is the attempt that counts.
    pub(super) fn check_writers(&self, number: usize, metadata: &CheckpointMetadata) {
        let Some(master) = &self.seats[number].master else { return };
        let graph = master.scheduler().graph();
        for (id, execution) in graph.executions() {
            let attempt = graph.attempt_id(id);
            let Some(vertex) = metadata.vertices.get(&attempt.vertex) else { continue };
            let state = &vertex.subtasks[attempt.subtask as usize];
            if !state.finished {
                let writer = writer_of(state);
                assert_eq!(writer, Some(u64::from(attempt.attempt)), "{attempt}: its writer");
                let alive = execution.is_running() || execution.state() == ExecutionState::Finished;
                assert!(alive, "{attempt} counts, and is {:?}", execution.state());
            }
        }
    }

    /// I6: tasks are told only of what is durable and still true.
    pub(super) fn check_complete(&mut self, number: usize, checkpoint: CheckpointId) {
        assert!(self.written.contains(&checkpoint), "checkpoint {checkpoint} is not written");
        self.check_recorded(checkpoint);
        self.announced = self.announced.max(Some(checkpoint));
        let complete = &mut self.seats[number].complete;
        if complete.is_none_or(|complete| complete < checkpoint) {
            *complete = Some(checkpoint);
            self.check_writers(number, &self.metadata[&checkpoint]);
        }
    }

    /// A task begins from the newest complete checkpoint, and all that it needs is there.
    pub(super) fn check_restore(&self, number: usize, descriptor: &TaskDeploymentDescriptor) {
        let attempt = descriptor.attempt;
        let from = descriptor.restore.as_ref().map(|restore| restore.checkpoint);
        let complete = self.seats[number].complete;
        assert_eq!(from, complete, "{attempt} begins from another checkpoint");
        let operators = descriptor.restore.iter().flat_map(|restore| restore.operators.values());
        for part in operators.flat_map(|operator| &operator.tables).flat_map(|table| &table.chain) {
            if let millstream_checkpoint::handle::StateFile::File(file) = &part.file {
                self.check_file(file);
            }
        }
    }

    /// I7: what a retained checkpoint refers to is there, and its metadata as well.
    pub(super) fn check_references(&self) {
        let Some(leading) = self.leading().filter(|_| self.ended.is_none()) else { return };
        let master = self.seats[leading].master.as_ref();
        let Some(coordinator) = master.and_then(JobMaster::coordinator) else { return };
        for retained in coordinator.retained() {
            let path = format!("{}/{METADATA_FILE}", retained.directory);
            assert!(self.store.has(&path), "{path} of a retained checkpoint is gone");
            retained.metadata.files().for_each(|file| self.check_file(file));
        }
    }

    pub(super) fn check_file(&self, file: &FileName) {
        let root = file.root.as_ref().unwrap_or(&self.directory);
        let path = format!("{root}/{}", file.path);
        assert!(self.store.has(&path), "{path} is referred to and does not exist");
    }

    /// I1, I12: the job has done all its work, every record is committed, and nothing is left.
    pub(super) fn check_at_end(&mut self) {
        let details = self.ended.as_ref().expect("the job has ended");
        let failure = &details.root_failure;
        assert_eq!(details.summary.status, JobStatus::Finished, "{failure:?}");
        let splits = 0..self.knobs.splits;
        let all = splits.flat_map(|split| (0..RECORDS).map(move |at| (split, at)));
        let all: BTreeSet<(u8, u8)> = all.collect();
        let committed: BTreeSet<(u8, u8)> = self.sink.keys().copied().collect();
        assert_eq!(committed, all, "records that were committed");
        if self.knobs.store_faults > 0 || self.knobs.leaders {
            return; // What could not be deleted may be left.
        }
        let below = format!("{}/", self.directory);
        let metadata = |path: &&str| path.starts_with(&below) && path.ends_with(METADATA_FILE);
        let left: Vec<&str> = self.store.paths().filter(metadata).collect();
        assert!(left.is_empty(), "checkpoints are left: {left:?}");
    }
}

fn subtasks(
    metadata: &CheckpointMetadata,
) -> impl Iterator<Item = (JobVertexId, usize, &TaskState)> {
    metadata.vertices.iter().flat_map(|(id, vertex)| {
        vertex.subtasks.iter().enumerate().map(move |(subtask, state)| (*id, subtask, state))
    })
}
