//! A new leader's begin and a deposed one's end. Effects as lines, as in `tests`.

use super::recovery::{Recovered, RecoveredJob};
use super::tests::{A, B, Session, failed, graph, lines, unknown};
use super::work::{DispatcherDone, UNSOLICITED};
use super::{DispatcherConfig, DispatcherTimer};
use crate::ha::ResultRecord;
use millstream_core::ids::JobId;
use millstream_core::status::JobStatus;
use millstream_rpc::machine::Input;
use millstream_rpc::protocol::dispatcher::ToDispatcher;
use std::sync::Arc;

const C: JobId = JobId(0xC);

fn result(status: JobStatus) -> ResultRecord {
    let failure = (status == JobStatus::Failed).then(|| "seven".to_owned());
    ResultRecord {
        status,
        name: "count".to_owned(),
        submitted: 1,
        ended: 9,
        failure,
        remains: vec![],
    }
}

/// A runs, B has failed and left something, C has finished.
fn recovered() -> Recovered {
    Recovered {
        jobs: vec![RecoveredJob { job: A, graph: Arc::new(graph()), submitted: 5 }],
        ended: vec![(B, result(JobStatus::Failed)), (C, result(JobStatus::Finished))],
        dirty: vec![B],
    }
}

fn deposed() -> Input<DispatcherTimer, DispatcherDone> {
    let result = DispatcherDone::Deposed { reason: "another one leads".to_owned() };
    Input::Done { op: UNSOLICITED, result }
}

fn ha() -> DispatcherConfig {
    DispatcherConfig { plans_survive: true, ..DispatcherConfig::default() }
}

#[test]
fn running_jobs_are_started_dirty_ones_only_cleaned_up_and_the_ended_are_known() {
    let mut session = Session::unstarted(ha(), recovered());
    let effects = session.driver.give(Input::Start);
    assert_eq!(lines(&effects), ["start A", "clean up B"]);
    let list = session.ask(ToDispatcher::ListJobs);
    assert_eq!(lines(&list), ["1: B FAILED, C FINISHED, A INITIALIZING"]);
    assert_eq!(lines(&session.submit(C)), ["2: invalid"]);
    assert_eq!(lines(&session.submit(A)), ["3: invalid"]);
    let wait = session.ask(ToDispatcher::AwaitJobEnd { job: B });
    assert_eq!(lines(&wait), ["4: FAILED by own"]);
}

#[test]
fn a_recovered_job_that_cannot_be_started_is_tried_again_and_says_why() {
    let mut only = recovered();
    only.dirty.clear();
    let mut session = Session::unstarted(ha(), only);
    let effects = session.driver.give(Input::Start);
    session.remember(effects);
    for outcome in [failed(), unknown()] {
        assert_eq!(lines(&session.done(outcome)), Vec::<String>::new(), "it must not be removed");
        session.driver.wait(10_000);
        assert_eq!(lines(&session.fire(DispatcherTimer::Retry(A))), ["start A"]);
    }
    assert_eq!(lines(&session.ask(ToDispatcher::CancelJob { job: A })), ["1: ack"]);
    let effects = session.done(failed());
    assert_eq!(lines(&effects), ["record A CANCELED"]);
}

#[test]
fn a_deposed_dispatcher_stops_masters_answers_everybody_and_writes_nothing() {
    let mut session = Session::with(ha());
    session.run(A);
    session.ask(ToDispatcher::AwaitJobEnd { job: A });
    session.submit(B);
    session.submit(C);
    session.done(DispatcherDone::Done);
    let effects = session.driver.give(deposed());
    assert_eq!(
        lines(&effects),
        ["2: not ready", "stop A", "3: not ready", "4: not ready", "stop C"],
        "B was being persisted and has no master"
    );
    assert_eq!(lines(&session.driver.give(deposed())), Vec::<String>::new(), "once is enough");
    assert_eq!(lines(&session.submit(JobId(0xD))), ["5: not ready"]);
    let wait = session.ask(ToDispatcher::AwaitJobEnd { job: A });
    assert_eq!(lines(&wait), ["6: not ready"], "it knows nothing of the job and must not say so");
    assert_eq!(lines(&session.ask(ToDispatcher::CancelJob { job: A })), ["7: not ready"]);
    let ops = session.ops_of(&effects);
    assert_eq!(lines(&session.driver.done(ops[0], DispatcherDone::Done)), Vec::<String>::new());
    assert_eq!(lines(&session.driver.done(ops[1], DispatcherDone::Done)), ["stopped"]);
}

#[test]
fn a_job_whose_end_could_not_be_recorded_before_the_term_was_over_has_not_ended() {
    let mut session = Session::with(ha());
    session.run(A);
    session.ask(ToDispatcher::AwaitJobEnd { job: A });
    assert_eq!(lines(&session.ended(A, JobStatus::Finished)), ["record A FINISHED"]);
    let effects = session.driver.give(deposed());
    assert_eq!(lines(&effects), ["2: not ready", "stop A"]);
    // The record has been written after all: too late for us, and nobody is told.
    assert_eq!(lines(&session.done(DispatcherDone::Done)), Vec::<String>::new());
}

#[test]
fn what_was_being_cleaned_up_is_left_to_the_next_leader() {
    let mut session = Session::with(ha());
    session.run(A);
    session.ended(A, JobStatus::Finished);
    session.done(DispatcherDone::Done);
    assert_eq!(lines(&session.done(DispatcherDone::Done)), ["clean up A"]);
    assert_eq!(lines(&session.driver.give(deposed())), ["stopped"]);
}
