//! One contender, step by step; and the record as it is written down.

use super::record::CHECKPOINT_IDS;
use super::*;
use crate::test_driver::{Driver, Effects};
use millstream_checkpoint::pointer::{Put, Version};
use millstream_checkpoint::storage::StorageError;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::{JobId, ResourceId};
use millstream_core::status::JobStatus;
use millstream_rpc::machine::{Effect, Input, OpId};
use proptest::prelude::*;

const LEASE_MS: u64 = 1200;

fn contender(name: &str) -> Driver<LeaderElection> {
    let config = HaConfig {
        process: ResourceId(name.to_owned()),
        rpc: format!("{name}:6123"),
        lease_ms: LEASE_MS,
    };
    Driver::new(LeaderElection::new(config))
}

fn version(number: u64) -> Version {
    Version(number.to_string())
}

fn ill(unknown: bool) -> StorageError {
    let text = |text: &str| text.to_owned();
    StorageError { attempt: text("write"), path: text("/ha"), cause: text("ill"), unknown }
}

fn ops(effects: &Effects<LeaderElection>) -> Vec<(OpId, HaOp)> {
    let op = |effect: &Effect<_, HaOp>| match effect {
        Effect::Op { op, what } => Some((*op, what.clone())),
        _ => None,
    };
    effects.iter().filter_map(op).collect()
}

/// The one operation of this kind.
#[track_caller]
fn the<T>(effects: &Effects<LeaderElection>, pick: impl Fn(&HaOp) -> Option<T>) -> (OpId, T) {
    let all = ops(effects);
    let mut found = all.iter().filter_map(|(op, what)| Some((*op, pick(what)?)));
    let first = found.next().unwrap_or_else(|| panic!("not in {all:?}"));
    assert!(found.next().is_none(), "twice in {all:?}");
    first
}

#[track_caller]
fn read_of(effects: &Effects<LeaderElection>) -> OpId {
    the(effects, |op| (*op == HaOp::Read).then_some(())).0
}

/// What is written, and on what base.
#[track_caller]
fn put_of(effects: &Effects<LeaderElection>) -> (OpId, HaRecord, Option<Version>) {
    let (op, (bytes, expected)) = the(effects, |op| match op {
        HaOp::Put { bytes, expected } => Some((bytes.clone(), expected.clone())),
        _ => None,
    });
    (op, HaRecord::decode(&bytes).expect("it can be read"), expected)
}

fn ends_of(effects: &Effects<LeaderElection>) -> Vec<(u64, ChangeEnd)> {
    let end = |(_, what): (OpId, HaOp)| match what {
        HaOp::TellChange { change, end } => Some((change.0, end)),
        _ => None,
    };
    ops(effects).into_iter().filter_map(end).collect()
}

fn found(record: &HaRecord, number: u64) -> HaDone {
    HaDone::Read(Ok(Some((version(number), record.encode()))))
}

/// A contender that leads in the first term, and the record.
fn leader() -> (Driver<LeaderElection>, HaRecord) {
    let mut driver = contender("a");
    let read = read_of(&driver.give(Input::Start));
    let (put, record, expected) = put_of(&driver.done(read, HaDone::Read(Ok(None))));
    assert_eq!((record.epoch, expected), (1, None));
    let effects = driver.done(put, HaDone::Put(Put::Written(version(1))));
    let (_, grant) = the(&effects, |op| match op {
        HaOp::Lead(grant) => Some(grant.clone()),
        _ => None,
    });
    assert_eq!((grant.epoch, grant.token), (1, record.token()));
    (driver, record)
}

fn add_job(number: u128) -> Change {
    let record = JobRecord::new(format!("jobs/{number}"), 7);
    Change::AddJob { job: JobId(number), record }
}

fn want(driver: &mut Driver<LeaderElection>, change: u64, what: Change) -> Effects<LeaderElection> {
    let change = ChangeId(change);
    driver.done(UNSOLICITED, HaDone::Change { change, epoch: 1, what })
}

/// The record of another process that leads.
fn of_other(epoch: u64) -> HaRecord {
    let leader = LeaderRecord {
        process: ResourceId("b".to_owned()),
        rpc: "b:6123".to_owned(),
        published: None,
    };
    HaRecord { lineage: 5, epoch, beat: 1, leader: Some(leader), ..HaRecord::default() }
}

#[test]
fn changes_that_come_during_a_write_are_written_together_by_the_next() {
    let (mut driver, _) = leader();
    let (first, record, expected) = put_of(&want(&mut driver, 1, add_job(1)));
    assert_eq!((record.jobs.len(), expected), (1, Some(version(1))));
    assert_eq!(ops(&want(&mut driver, 2, add_job(2))), vec![], "one write at a time");
    assert_eq!(ops(&want(&mut driver, 3, add_job(3))), vec![]);
    let effects = driver.done(first, HaDone::Put(Put::Written(version(2))));
    assert_eq!(ends_of(&effects), [(1, ChangeEnd::Written)]);
    let (second, record, expected) = put_of(&effects);
    assert_eq!((record.jobs.len(), expected), (3, Some(version(2))));
    let effects = driver.done(second, HaDone::Put(Put::Written(version(3))));
    assert_eq!(ends_of(&effects), [(2, ChangeEnd::Written), (3, ChangeEnd::Written)]);
}

#[test]
fn a_change_that_must_not_be_made_is_refused_and_the_others_are_written() {
    let (mut driver, _) = leader();
    let (first, ..) = put_of(&want(&mut driver, 1, add_job(1)));
    let unknown = ResultRecord {
        status: JobStatus::Finished,
        name: "x".to_owned(),
        submitted: 1,
        ended: 2,
        failure: None,
        remains: Vec::new(),
    };
    want(&mut driver, 2, Change::RecordResult { job: JobId(9), result: unknown });
    want(&mut driver, 3, add_job(3));
    let effects = driver.done(first, HaDone::Put(Put::Written(version(2))));
    assert!(matches!(&ends_of(&effects)[1], (2, ChangeEnd::Failed { deposed: false, .. })));
    assert_eq!(put_of(&effects).1.jobs.len(), 2);
}

#[test]
fn a_write_with_an_unknown_outcome_is_read_back_and_counts_if_it_is_there() {
    let (mut driver, _) = leader();
    let (put, written, _) = put_of(&want(&mut driver, 1, add_job(1)));
    let effects = driver.done(put, HaDone::Put(Put::Unknown(ill(true))));
    assert_eq!(ends_of(&effects), [], "nobody knows yet");
    let read = read_of(&driver.wait(100).give(Input::Timer(HaTimer)));
    let effects = driver.done(read, found(&written, 2));
    assert_eq!(ends_of(&effects), [(1, ChangeEnd::Written)]);
}

#[test]
fn a_write_with_an_unknown_outcome_that_is_not_there_is_repeated_with_the_same_bytes() {
    let (mut driver, first) = leader();
    let (put, written, base) = put_of(&want(&mut driver, 1, add_job(1)));
    driver.done(put, HaDone::Put(Put::Unknown(ill(true))));
    // What comes meanwhile must not become part of it: the first write may yet arrive.
    want(&mut driver, 2, add_job(2));
    let read = read_of(&driver.wait(100).give(Input::Timer(HaTimer)));
    driver.done(read, found(&first, 1));
    let (put, again, base_again) = put_of(&driver.wait(100).give(Input::Timer(HaTimer)));
    assert_eq!((again, base_again), (written.clone(), base));
    // The first one has arrived before the second.
    let read = read_of(&driver.done(put, HaDone::Put(Put::Conflict)));
    let effects = driver.done(read, found(&written, 2));
    assert_eq!(ends_of(&effects), [(1, ChangeEnd::Written)]);
    assert_eq!(put_of(&effects).1.jobs.len(), 2);
}

#[test]
fn a_failure_after_an_unknown_outcome_does_not_make_the_outcome_known() {
    let (mut driver, first) = leader();
    let (put, ..) = put_of(&want(&mut driver, 1, add_job(1)));
    driver.done(put, HaDone::Put(Put::Unknown(ill(true))));
    let read = read_of(&driver.wait(100).give(Input::Timer(HaTimer)));
    driver.done(read, found(&first, 1));
    let (put, ..) = put_of(&driver.wait(100).give(Input::Timer(HaTimer)));
    let effects = driver.done(put, HaDone::Put(Put::Failed(ill(false))));
    assert_eq!(ends_of(&effects), []);
    read_of(&driver.wait(100).give(Input::Timer(HaTimer)));
}

#[test]
fn a_write_that_certainly_failed_is_told_and_the_lease_is_renewed_by_the_next() {
    let (mut driver, _) = leader();
    let (put, ..) = put_of(&want(&mut driver, 1, add_job(1)));
    let effects = driver.done(put, HaDone::Put(Put::Failed(ill(false))));
    assert!(matches!(&ends_of(&effects)[..], [(1, ChangeEnd::Failed { deposed: false, .. })]));
    let (_, record, _) = put_of(&driver.wait(LEASE_MS / 3).give(Input::Timer(HaTimer)));
    assert_eq!((record.jobs.len(), record.beat), (0, 3), "no number is used for two contents");
}

#[test]
fn a_leader_that_finds_another_one_in_the_record_stops_and_answers_everybody() {
    let (mut driver, record) = leader();
    let (put, ..) = put_of(&want(&mut driver, 1, add_job(1)));
    want(&mut driver, 2, add_job(2));
    let read = read_of(&driver.done(put, HaDone::Put(Put::Conflict)));
    let other = HaRecord { lineage: record.lineage, beat: 2, ..of_other(2) };
    let effects = driver.done(read, found(&other, 2));
    let ends = ends_of(&effects);
    assert!(matches!(&ends[0], (1, ChangeEnd::Unknown { .. })), "{ends:?}");
    assert!(matches!(&ends[1], (2, ChangeEnd::Failed { deposed: true, .. })), "{ends:?}");
    let (stop, ()) = the(&effects, |op| match op {
        HaOp::StopLeading { epoch: 1, orderly: false, .. } => Some(()),
        _ => None,
    });
    assert_eq!(driver.machine.leads(), None);
    let effects = want(&mut driver, 3, add_job(3));
    assert!(matches!(&ends_of(&effects)[..], [(3, ChangeEnd::Failed { deposed: true, .. })]));
    assert_eq!(ops(&driver.wait(5000).give(Input::Timer(HaTimer))), vec![], "first all must stop");
    read_of(&driver.done(stop, HaDone::Stopped));
}

#[test]
fn a_leader_that_was_paused_for_longer_than_its_lease_does_nothing_before_it_stops() {
    let (mut driver, _) = leader();
    let effects = driver
        .wait(LEASE_MS)
        .done(UNSOLICITED, HaDone::Change { change: ChangeId(1), epoch: 1, what: add_job(1) });
    assert!(matches!(&ops(&effects)[0].1, HaOp::StopLeading { .. }));
    assert!(matches!(&ends_of(&effects)[..], [(1, ChangeEnd::Failed { deposed: true, .. })]));
}

#[test]
fn a_contender_waits_for_a_whole_lease_of_silence() {
    let mut driver = contender("a");
    let read = read_of(&driver.give(Input::Start));
    let mut record = of_other(4);
    driver.done(read, found(&record, 9));
    let mut looked = 0;
    for _ in 0..20 {
        let read = read_of(&driver.wait(200).give(Input::Timer(HaTimer)));
        looked += 1;
        if looked == 3 {
            record.beat += 1; // A sign of life.
        }
        let effects = driver.done(read, found(&record, 8 + record.beat));
        if ops(&effects).iter().any(|(_, op)| matches!(op, HaOp::Put { .. })) {
            let (_, taken, expected) = put_of(&effects);
            assert_eq!((taken.epoch, taken.beat, expected), (5, 3, Some(version(10))));
            return assert_eq!(looked, 3 + 6, "it waits for 1,200 ms from the sign of life on");
        }
    }
    panic!("it never takes over");
}

#[test]
fn a_leader_that_is_gone_or_has_resigned_is_replaced_at_once() {
    let mut driver = contender("a");
    let read = read_of(&driver.give(Input::Start));
    let effects = driver.done(read, found(&of_other(4), 9));
    let (probe, rpc) = the(&effects, |op| match op {
        HaOp::Probe { rpc, .. } => Some(rpc.clone()),
        _ => None,
    });
    assert_eq!(rpc, "b:6123");
    driver.done(probe, HaDone::Probed(Presence::Gone));
    let read = read_of(&driver.wait(200).give(Input::Timer(HaTimer)));
    assert_eq!(put_of(&driver.done(read, found(&of_other(4), 9))).1.epoch, 5);

    let mut driver = contender("a");
    let read = read_of(&driver.give(Input::Start));
    let resigned = HaRecord { leader: None, ..of_other(4) };
    assert_eq!(put_of(&driver.done(read, found(&resigned, 9))).1.epoch, 5);
}

#[test]
fn an_unreadable_record_ends_the_process_and_is_not_overwritten() {
    let mut newer = String::from_utf8(of_other(4).encode()).expect("text");
    newer = newer.replacen("MILLSTREAM-HA 1", "MILLSTREAM-HA 2", 1);
    for (bytes, word) in [(b"garbage\n".to_vec(), "damaged"), (newer.into_bytes(), "version 2")] {
        let mut driver = contender("a");
        let read = read_of(&driver.give(Input::Start));
        let effects = driver.done(read, HaDone::Read(Ok(Some((version(3), bytes)))));
        let [Effect::Fatal(reason)] = &effects[..] else { panic!("{effects:?}") };
        assert!(reason.contains(word) && reason.contains("storageDir"), "{reason}");
    }
}

#[test]
fn a_record_that_vanishes_or_goes_back_ends_the_process() {
    let mut driver = contender("a");
    let read = read_of(&driver.give(Input::Start));
    driver.done(read, found(&of_other(4), 9));
    let read = read_of(&driver.wait(200).give(Input::Timer(HaTimer)));
    let effects = driver.done(read, found(&of_other(3), 8));
    assert!(matches!(&effects[..], [Effect::Fatal(_), ..]), "{effects:?}");

    let (mut driver, _) = leader();
    let (put, ..) = put_of(&want(&mut driver, 1, add_job(1)));
    let read = read_of(&driver.done(put, HaDone::Put(Put::Conflict)));
    let effects = driver.done(read, HaDone::Read(Ok(None)));
    assert!(matches!(&effects[..], [Effect::Fatal(_), ..]), "{effects:?}");
}

#[test]
fn a_leader_that_ends_stops_its_part_and_resigns() {
    let (mut driver, _) = leader();
    let (stop, ()) = the(&driver.give(Input::Stop), |op| match op {
        HaOp::StopLeading { orderly: true, .. } => Some(()),
        _ => None,
    });
    // What ends meanwhile is still written.
    let (put, record, _) = put_of(&want(&mut driver, 1, add_job(1)));
    assert!(record.leader.is_some());
    driver.done(stop, HaDone::Stopped);
    let effects = driver.done(put, HaDone::Put(Put::Written(version(2))));
    let (put, record, _) = put_of(&effects);
    assert_eq!((record.leader, record.jobs.len()), (None, 1), "jobs stay");
    let effects = driver.done(put, HaDone::Put(Put::Written(version(3))));
    assert!(matches!(effects[..], [Effect::Stopped]), "{effects:?}");
}

#[test]
fn a_new_term_gives_checkpoints_ids_that_no_former_leader_can_use() {
    let mut record = of_other(1);
    add_job(1).apply(&mut record).expect("it is new");
    let mut first = record.jobs[&JobId(1)].first_checkpoint;
    for term in 0..5 {
        let last = CheckpointId(record.jobs[&JobId(1)].next_checkpoint.0 - 1);
        assert!(last >= first);
        let id = CheckpointId(first.0 + 700);
        let checkpoint = CheckpointRecord { id, path: format!("chk-{id}") };
        Change::CompleteCheckpoint { job: JobId(1), checkpoint }.apply(&mut record).expect("new");
        let next = record.jobs[&JobId(1)].next_checkpoint.0;
        assert!(next >= id.0 + CHECKPOINT_IDS / 2, "term {term} runs out of ids: {id} of {next}");
        let leader = record.leader.clone().expect("it has one");
        super::change::take_over(&mut record, leader);
        first = record.jobs[&JobId(1)].first_checkpoint;
        assert!(first > last && first > id);
    }
}

#[test]
fn an_older_checkpoint_is_never_recorded_after_a_newer_one() {
    let mut record = of_other(1);
    add_job(1).apply(&mut record).expect("it is new");
    let complete = |id: u64| {
        let checkpoint = CheckpointRecord { id: CheckpointId(id), path: format!("chk-{id}") };
        Change::CompleteCheckpoint { job: JobId(1), checkpoint }
    };
    assert_eq!(complete(3).apply(&mut record), Ok(()));
    assert_eq!(complete(3).apply(&mut record), Ok(()), "twice is once");
    assert!(complete(2).apply(&mut record).is_err());
    assert_eq!(record.jobs[&JobId(1)].checkpoints.len(), 1);
}

#[test]
fn results_are_kept_until_there_are_too_many_but_dirty_ones_always() {
    let mut record = of_other(1);
    for number in 0..150_u128 {
        add_job(number).apply(&mut record).expect("it is new");
        let result = ResultRecord {
            status: JobStatus::Finished,
            name: String::new(),
            submitted: 0,
            ended: number as i64,
            failure: None,
            remains: Vec::new(),
        };
        let job = JobId(number);
        Change::RecordResult { job, result }.apply(&mut record).expect("it is known");
        if number > 0 {
            Change::RemoveJob { job, directory: format!("jobs/{number}") }
                .apply(&mut record)
                .expect("it may go");
        }
    }
    assert_eq!(record.dirty().collect::<Vec<_>>(), [JobId(0)]);
    assert_eq!(record.results.len(), super::record::RESULTS_MAX + 1);
    assert!(record.results.contains_key(&JobId(149)));
    assert!(add_job(149).apply(&mut record).is_err(), "an id that was used is refused");
}

fn any_record() -> impl Strategy<Value = HaRecord> {
    let job = (any::<u128>(), ".{0,20}", any::<i64>(), prop::collection::vec(any::<u64>(), 0..4));
    let jobs = prop::collection::vec(job, 0..5);
    (any::<u64>(), any::<u64>(), any::<u64>(), any::<bool>(), jobs).prop_map(
        |(lineage, epoch, beat, led, jobs)| {
            let leader = of_other(0).leader.filter(|_| led);
            let mut record = HaRecord { lineage, epoch, beat, leader, ..HaRecord::default() };
            for (id, text, time, checkpoints) in jobs {
                let job = JobId(id);
                let path = |id: u64| CheckpointRecord { id: CheckpointId(id), path: text.clone() };
                let checkpoints = checkpoints.into_iter().map(path).collect();
                let known = JobRecord { checkpoints, ..JobRecord::new(text.clone(), time) };
                record.jobs.insert(job, known);
                let (status, name) = (JobStatus::Failed, text.clone());
                let failure = Some(text.clone());
                let result = ResultRecord {
                    status,
                    name,
                    submitted: time,
                    ended: time,
                    failure,
                    remains: vec![text.clone()],
                };
                record.results.insert(JobId(!id), result);
            }
            record
        },
    )
}

proptest! {
    #[test]
    fn what_was_written_down_is_read_again(record in any_record()) {
        prop_assert_eq!(HaRecord::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn a_changed_byte_is_noticed(record in any_record(), at in any::<prop::sample::Index>(), to: u8) {
        let mut bytes = record.encode();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        // In the checksum itself, capital letters mean the same.
        prop_assume!(!bytes[at].eq_ignore_ascii_case(&to));
        bytes[at] = to;
        prop_assert!(HaRecord::decode(&bytes).is_err());
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = HaRecord::decode(&bytes);
        let _ = HaRecord::decode(&[b"MILLSTREAM-HA 1 ", &bytes[..]].concat());
    }
}
