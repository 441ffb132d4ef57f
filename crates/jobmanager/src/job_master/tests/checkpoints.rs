//! Checkpoints: what the coordinator decides is carried out, and what tasks and stores say arrives.

use super::Rig;
use crate::job_master::{JobMasterDone, JobMasterOp, JobRecovery};
use millstream_checkpoint::handle::TaskState;
use millstream_checkpoint::metadata;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::TriggerId;
use millstream_core::status::JobStatus;
use millstream_rpc::machine::Input;
use millstream_rpc::protocol::job_master::{NOT_RUNNING, SnapshotMetrics, ToJobMaster};

const DIR: (&str, &str) = ("execution.checkpointing.dir", "/c");

/// Two tasks, one behind the other, that run.
fn running(options: &[(&str, &str)]) -> Rig {
    let options: Vec<(&str, &str)> = options.iter().copied().chain([DIR]).collect();
    let mut rig = Rig::healthy("a:1 b:1 a~hash~b", &options, &[("tm1", 1)]);
    rig.tasks("run a0 b0");
    rig.text_log();
    rig
}

fn acknowledge(rig: &mut Rig, task: &str, checkpoint: u64, finished: bool) {
    let state = Box::new(TaskState { finished, ..TaskState::default() });
    let (attempt, metrics) = (rig.attempt(task), SnapshotMetrics::default());
    let checkpoint = CheckpointId(checkpoint);
    rig.say(ToJobMaster::AcknowledgeCheckpoint { attempt, checkpoint, state, metrics });
}

/// The oldest work that nobody has done ends so.
fn done(rig: &mut Rig, result: JobMasterDone) -> JobMasterOp {
    let (op, what) = rig.ops.remove(0);
    rig.give(Input::Done { op, result });
    what
}

#[test]
fn a_checkpoint_goes_from_its_timer_to_the_notices() {
    let mut rig = running(&[]);
    rig.pass(10_000);
    assert!(rig.text_log().contains("TriggerCheckpoint"), "the source is told to begin");
    acknowledge(&mut rig, "a0", 1, false);
    assert!(rig.ops.is_empty());
    acknowledge(&mut rig, "b0", 1, false);
    let write = done(&mut rig, JobMasterDone::Done);
    let JobMasterOp::WriteMetadata { directory, bytes, .. } = write else { panic!("{write:?}") };
    assert_eq!(directory, "/c/0000000000000000000000000000000a/chk-1");
    assert!(metadata::decode(&bytes, "f").is_ok());
    assert_eq!(rig.text_log().matches("NotifyCheckpointCompleted").count(), 2);
}

#[test]
fn the_end_of_all_data_is_followed_by_the_last_checkpoint_and_nothing_is_left() {
    let mut rig = running(&[]);
    for task in ["a0", "b0"] {
        let attempt = rig.attempt(task);
        rig.say(ToJobMaster::EndOfData { attempt });
    }
    assert_eq!(rig.text_log().matches("TriggerCheckpoint").count(), 2);
    acknowledge(&mut rig, "a0", 1, true);
    acknowledge(&mut rig, "b0", 1, true);
    done(&mut rig, JobMasterDone::Done);
    rig.tasks("finish a0 b0");
    assert_eq!(rig.driver.machine.status(), JobStatus::Finished);
    let (_, last) = rig.ops.pop().expect("checkpoints are deleted");
    let JobMasterOp::Delete { paths, .. } = last else { panic!("{last:?}") };
    assert!(paths.contains(&"/c/0000000000000000000000000000000a".to_owned()), "{paths:?}");
}

#[test]
fn a_lost_task_begins_again_from_the_newest_checkpoint() {
    let fixed = ("restart-strategy.type", "fixed-delay");
    let mut rig = running(&[fixed]);
    rig.pass(10_000);
    acknowledge(&mut rig, "a0", 1, false);
    acknowledge(&mut rig, "b0", 1, false);
    done(&mut rig, JobMasterDone::Done);
    rig.pass(10_000);
    rig.text_log();
    rig.fail("a0", 1);
    assert!(rig.text_log().contains("NotifyCheckpointAborted"), "the pending one is given up");
    rig.tasks("stop b0");
    rig.pass(1_000);
    assert!(rig.text_log().contains("submit a0"), "it starts over");
    let coordinator = rig.driver.machine.coordinator().expect("there is one");
    assert_eq!(coordinator.base(), Some(CheckpointId(1)));
}

#[test]
fn a_checkpoint_that_is_refused_starts_the_job_over_unless_the_task_was_merely_gone() {
    let fixed = ("restart-strategy.type", "fixed-delay");
    let mut rig = running(&[fixed]);
    rig.pass(10_000);
    let attempt = rig.attempt("a0");
    let checkpoint = CheckpointId(1);
    let cause = NOT_RUNNING.to_owned();
    rig.say(ToJobMaster::DeclineCheckpoint { attempt, checkpoint, cause });
    assert_eq!(rig.driver.machine.status(), JobStatus::Running);
    rig.pass(10_000);
    let (checkpoint, cause) = (CheckpointId(2), "disk full".to_owned());
    rig.say(ToJobMaster::DeclineCheckpoint { attempt, checkpoint, cause });
    assert_eq!(rig.driver.machine.status(), JobStatus::Restarting);
}

#[test]
fn a_job_that_cannot_read_what_it_goes_on_from_fails_and_says_why() {
    let path = ("execution.state-recovery.path", "/s/savepoint-1/_metadata");
    for (result, expected) in [
        (JobMasterDone::Missing, "`/s/savepoint-1/_metadata` does not exist"),
        (JobMasterDone::Failed { reason: "no access".to_owned() }, "could not be read: no access"),
        (JobMasterDone::Read { bytes: vec![1] }, "is not the metadata of a checkpoint"),
    ] {
        let mut rig = Rig::healthy("a:1", &[path], &[("tm1", 1)]);
        assert!(!rig.text_log().contains("submit"), "nothing runs before it is read");
        let read = done(&mut rig, result);
        let directory = "/s/savepoint-1".to_owned();
        assert_eq!(read, JobMasterOp::ReadMetadata { directory });
        assert_eq!(rig.driver.machine.status(), JobStatus::Failed);
        let details = rig.ended.as_ref().expect("the end is told");
        let message = details.root_failure.as_ref().map(|failure| failure.message.as_str());
        assert!(message.is_some_and(|message| message.contains(expected)), "{message:?}");
    }
}

/// What the master before this one has completed: the metadata of its checkpoint of this number.
fn completed_before(checkpoint: u64) -> Vec<u8> {
    let mut rig = running(&[]);
    for id in 1..=checkpoint {
        rig.pass(10_000);
        acknowledge(&mut rig, "a0", id, false);
        acknowledge(&mut rig, "b0", id, false);
        let write = done(&mut rig, JobMasterDone::Done);
        let JobMasterOp::WriteMetadata { bytes, recorded, .. } = write else { panic!("{write:?}") };
        assert_eq!(recorded, Some(CheckpointId(id)), "it is to be recorded");
        if id == checkpoint {
            return bytes;
        }
        rig.ops.clear();
    }
    panic!("checkpoints are numbered from 1")
}

const JOB_DIR: &str = "/c/0000000000000000000000000000000a";

/// A job whose former master has left these, newest last.
fn recovered_from(checkpoints: &[u64], options: &[(&str, &str)]) -> Rig {
    let mut older: Vec<String> =
        checkpoints.iter().map(|id| format!("{JOB_DIR}/chk-{id}")).collect();
    let left = JobRecovery { checkpoint: older.pop(), older, first: CheckpointId(1001) };
    // What the job was first started from does not count any more.
    let named = [DIR, ("execution.state-recovery.path", "/s/savepoint-0")];
    let own = if checkpoints.is_empty() { &named[..1] } else { &named };
    let options: Vec<(&str, &str)> = own.iter().chain(options).copied().collect();
    let rig = Rig::unstarted_after("a:1 b:1 a~hash~b", &options, Some(left));
    rig.start_healthily(&[("tm1", 1)])
}

/// The first checkpoint of a recovered job; what is deleted when it has been completed.
fn first_checkpoint(rig: &mut Rig) -> Vec<String> {
    rig.tasks("run a0 b0");
    rig.pass(10_000);
    acknowledge(rig, "a0", 1001, false);
    acknowledge(rig, "b0", 1001, false);
    let write = done(rig, JobMasterDone::Done);
    assert!(matches!(write, JobMasterOp::WriteMetadata { recorded: Some(CheckpointId(1001)), .. }));
    let mut deleted = Vec::new();
    while !rig.ops.is_empty() {
        let (op, what) = rig.ops.remove(0);
        let result = match what {
            JobMasterOp::Delete { paths, ended: false } => {
                deleted.extend(paths);
                JobMasterDone::Done
            }
            JobMasterOp::ListFiles { directory } => {
                assert_eq!(directory, JOB_DIR);
                let left = ["chk-900/a-0", "chk-900/b-0", "chk-1001/a-0", "savepoint-1/_metadata"];
                JobMasterDone::Listed { paths: left.map(str::to_owned).to_vec() }
            }
            other => panic!("{other:?}"),
        };
        rig.give(Input::Done { op, result });
    }
    deleted
}

fn read(rig: &mut Rig, checkpoint: u64) {
    let bytes = completed_before(checkpoint);
    let directory = format!("{JOB_DIR}/chk-{checkpoint}");
    let read = done(rig, JobMasterDone::Read { bytes });
    assert_eq!(read, JobMasterOp::ReadMetadata { directory });
}

#[test]
fn a_recovered_job_goes_on_from_its_own_newest_checkpoint_with_numbers_of_its_own() {
    let mut rig = recovered_from(&[1], &[]);
    assert!(!rig.text_log().contains("submit"), "nothing runs before it is read");
    read(&mut rig, 1);
    let coordinator = rig.driver.machine.coordinator().expect("there is one");
    assert_eq!(coordinator.base(), Some(CheckpointId(1)));
    // Slots are wanted from now on.
    rig.offer("tm1", &[2]);
    let deleted = first_checkpoint(&mut rig);
    let chk = format!("{JOB_DIR}/chk-1");
    assert!(deleted.contains(&chk), "it is ours to delete: {deleted:?}");
}

#[test]
fn what_a_former_master_kept_is_let_go_when_its_time_has_come() {
    let mut rig = recovered_from(&[1, 2, 3], &[("execution.checkpointing.num-retained", "2")]);
    read(&mut rig, 1);
    // The deletion of this one had begun.
    done(&mut rig, JobMasterDone::Missing);
    let (op, delete) = rig.ops.remove(0);
    let paths = vec![format!("{JOB_DIR}/chk-2/_metadata"), format!("{JOB_DIR}/chk-2")];
    assert_eq!(delete, JobMasterOp::Delete { paths, ended: false }, "it is forgotten");
    rig.give(Input::Done { op, result: JobMasterDone::Done });
    read(&mut rig, 3);
    rig.offer("tm1", &[2]);
    let deleted = first_checkpoint(&mut rig);
    assert!(deleted.contains(&format!("{JOB_DIR}/chk-1")), "{deleted:?}");
    assert!(!deleted.contains(&format!("{JOB_DIR}/chk-3")), "{deleted:?}");
}

#[test]
fn an_older_checkpoint_that_cannot_be_read_is_let_go() {
    let mut rig = recovered_from(&[1, 2], &[]);
    for _ in 0..3 {
        done(&mut rig, JobMasterDone::Failed { reason: "no access".to_owned() });
        rig.pass(5_000);
    }
    let (op, delete) = rig.ops.remove(0);
    let paths = vec![format!("{JOB_DIR}/chk-1/_metadata"), format!("{JOB_DIR}/chk-1")];
    assert_eq!(delete, JobMasterOp::Delete { paths, ended: false }, "it is forgotten");
    rig.give(Input::Done { op, result: JobMasterDone::Done });
    read(&mut rig, 2);
    rig.offer("tm1", &[2]);
    let deleted = first_checkpoint(&mut rig);
    assert!(deleted.contains(&format!("{JOB_DIR}/chk-2")), "{deleted:?}");
}

#[test]
fn a_recovered_job_without_a_checkpoint_begins_anew_with_numbers_of_its_own() {
    let mut rig = recovered_from(&[], &[]);
    // What its former master's tasks had begun goes.
    assert_eq!(first_checkpoint(&mut rig), [format!("{JOB_DIR}/chk-900")]);
}

#[test]
fn a_recovered_job_whose_newest_checkpoint_cannot_be_read_fails_and_deletes_nothing() {
    for (result, expected) in [
        (JobMasterDone::Missing, "chk-1/_metadata` does not exist"),
        (JobMasterDone::Failed { reason: "no access".to_owned() }, "could not be read: no access"),
        (JobMasterDone::Read { bytes: vec![1] }, "is not the metadata of a checkpoint"),
    ] {
        let mut rig = recovered_from(&[1], &[]);
        let began = rig.driver.now;
        while !rig.ops.is_empty() {
            done(&mut rig, result.clone());
            rig.pass(10_000);
        }
        assert_eq!(rig.driver.machine.status(), JobStatus::Failed);
        let patience = rig.driver.now.since(began);
        let is_transient = matches!(result, JobMasterDone::Failed { .. });
        assert_eq!(patience > 120_000, is_transient, "{result:?}: {patience} ms");
        let details = rig.ended.as_ref().expect("the end is told");
        let message = details.root_failure.as_ref().map(|failure| failure.message.as_str());
        assert!(message.is_some_and(|message| message.contains(expected)), "{message:?}");
    }
}

#[test]
fn a_recovered_job_waits_for_a_store_that_is_ill() {
    let mut rig = recovered_from(&[1], &[]);
    for _ in 0..5 {
        done(&mut rig, JobMasterDone::Unknown { reason: "no answer".to_owned() });
        rig.pass(5_000);
    }
    read(&mut rig, 1);
    rig.offer("tm1", &[2]);
    first_checkpoint(&mut rig);
}

#[test]
fn a_savepoint_is_asked_for_and_its_result_asked_for_again() {
    let mut rig = running(&[]);
    let trigger = TriggerId(5);
    let directory = Some("/s".to_owned());
    let ask = |rig: &mut Rig, message| {
        rig.say(message);
        rig.text_log()
    };
    let wanted = ToJobMaster::TriggerSavepoint { trigger, directory, stop: None };
    assert!(ask(&mut rig, wanted.clone()).contains("reply ack"));
    assert!(ask(&mut rig, wanted).contains("reply ack"));
    let progress = ToJobMaster::RequestSnapshotProgress { trigger };
    assert!(ask(&mut rig, progress.clone()).contains("InProgress"));
    acknowledge(&mut rig, "a0", 1, false);
    acknowledge(&mut rig, "b0", 1, false);
    done(&mut rig, JobMasterDone::Done);
    assert!(ask(&mut rig, progress).contains("/s/savepoint-"));
    let unknown = ToJobMaster::RequestSnapshotProgress { trigger: TriggerId(6) };
    assert!(ask(&mut rig, unknown).contains("unknown trigger"));
}
