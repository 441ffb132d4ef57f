//! The slot table: tickets, states, and what is refused.

use super::*;
use millstream_core::ids::{ExecutionGraphId, JobVertexId};

const JOB: JobId = JobId(7);
const A: AllocationId = AllocationId(0xA);
const B: AllocationId = AllocationId(0xB);

fn attempt(number: u32) -> ExecutionAttemptId {
    ExecutionAttemptId {
        graph: ExecutionGraphId(1),
        vertex: JobVertexId(2),
        subtask: 0,
        attempt: number,
    }
}

/// A table of two slots whose first is allocated as `A`, with the ticket of its wait until 10.
fn waiting() -> (SlotTable, Ticket) {
    let mut table = SlotTable::new(2, ResourceProfile::ANY);
    let Allocation::New(ticket) = table.allocate(0, JOB, A, Mono(10)) else {
        panic!("a free slot can be allocated")
    };
    (table, ticket)
}

#[test]
fn the_same_grant_twice_is_held_once() {
    let (mut table, _) = waiting();
    assert_eq!(table.allocate(0, JOB, A, Mono(20)), Allocation::Known);
    table.activate(A);
    assert_eq!(table.allocate(0, JOB, A, Mono(20)), Allocation::Known);
    assert_eq!(table.counts().active, 1);
    table.check();
}

#[test]
fn a_held_slot_is_not_given_to_another() {
    let (mut table, _) = waiting();
    let occupied = Allocation::Occupied { allocation: A, job: JOB };
    assert_eq!(table.allocate(0, JobId(8), B, Mono(20)), occupied);
    assert_eq!(table.allocate(0, JobId(8), A, Mono(20)), occupied);
    table.check();
}

#[test]
fn a_grant_lives_in_one_slot() {
    let (mut table, _) = waiting();
    assert_eq!(table.allocate(1, JOB, A, Mono(20)), Allocation::Elsewhere(0));
    assert_eq!(table.allocate(2, JOB, B, Mono(20)), Allocation::NoSuchSlot);
    table.check();
}

#[test]
fn a_ticket_of_an_earlier_wait_is_stale() {
    let (mut table, first) = waiting();
    assert!(!table.has_timed_out(A, first, Mono(9)));
    assert!(table.has_timed_out(A, first, Mono(10)));
    table.activate(A);
    assert!(!table.has_timed_out(A, first, Mono(10)));
    let second = table.deactivate(A, Mono(30)).expect("an active slot can wait again");
    assert!(!table.has_timed_out(A, first, Mono(30)));
    assert!(table.has_timed_out(A, second, Mono(30)));
    assert!(matches!(table.expire(A, Mono(30)), Release::Freed(_)));
}

#[test]
fn a_slot_is_free_when_its_last_task_has_ended() {
    let (mut table, _) = waiting();
    table.activate(A);
    table.add_task(A, attempt(0));
    table.add_task(A, attempt(1));
    assert!(matches!(table.release(A), Release::Waiting(tasks) if tasks.len() == 2));
    assert!(!table.activate(A), "a releasing slot is not used again");
    assert_eq!(table.remove_task(A, &attempt(0)), None);
    table.check();
    let freed = Freed { index: 0, allocation: A, job: JOB };
    assert_eq!(table.remove_task(A, &attempt(1)), Some(freed));
    assert_eq!(table.counts().free, 2);
    assert_eq!(table.release(A), Release::Unknown);
    table.check();
}

#[test]
fn only_slots_that_wait_are_offered_and_all_are_reported() {
    let (mut table, _) = waiting();
    table.allocate(1, JOB, B, Mono(20));
    table.activate(B);
    let offered: Vec<_> = table.offers(JOB).iter().map(|offer| offer.allocation).collect();
    assert_eq!(offered, [A]);
    assert!(table.offers(JobId(8)).is_empty());
    let report = table.report();
    assert_eq!(report.slots[&0].allocation, Some((A, JOB)));
    assert_eq!(report.slots[&1].allocation, Some((B, JOB)));
}
