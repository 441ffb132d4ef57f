//! Tables of cases. A worker's slots are drawn as one sign each: `.` free, `?` pending, `!` with an
//! unknown outcome, a letter for the job that has it.

use super::*;
use millstream_core::ids::{AllocationId, InstanceId, JobId, ResourceId};
use millstream_rpc::machine::Rng;
use millstream_rpc::protocol::resource::{
    ResourceProfile, ResourceRequirement, SlotId, SlotReport, SlotStatus,
};

const SLOT: ResourceProfile = profile(1000, 100);

const fn profile(cpu_millis: u32, task_memory: u64) -> ResourceProfile {
    ResourceProfile { cpu_millis, task_memory, managed_memory: 0, network_memory: 0 }
}

fn worker(name: &str) -> ResourceId {
    ResourceId(name.to_owned())
}

fn slot(name: &str, index: u32) -> SlotId {
    SlotId { resource: worker(name), index }
}

/// Job `A` is 1, `B` is 2.
fn job(letter: char) -> JobId {
    JobId(u128::from(letter as u32 - 'A' as u32 + 1))
}

fn need(count: u32) -> Vec<ResourceRequirement> {
    let profile = ResourceProfile::ANY;
    vec![ResourceRequirement { profile, count }]
}

/// Slot `i` of a drawing is held under allocation `base + i`.
fn report(drawing: &str, base: u128) -> SlotReport {
    let status = |(index, sign): (usize, char)| {
        let allocation = (sign != '.').then(|| (AllocationId(base + index as u128), job(sign)));
        let profile = SLOT;
        (index as u32, SlotStatus { profile, allocation })
    };
    SlotReport { slots: drawing.chars().enumerate().map(status).collect() }
}

fn draw(slots: &SlotManager, name: &str) -> String {
    let indices = 0..slots.counts_of(&worker(name)).total();
    let sign = |index| match slots.state(&slot(name, index)) {
        None => 'x',
        Some(SlotState::Free) => '.',
        Some(SlotState::Pending(_)) => '?',
        Some(SlotState::Unconfirmed(_)) => '!',
        Some(SlotState::Allocated(grant)) => (b'A' + grant.job.0 as u8 - 1) as char,
    };
    indices.map(sign).collect()
}

/// Workers `w1`, `w2`, … with these slots.
fn with_workers(mode: LoadBalanceMode, drawings: &[&str]) -> SlotManager {
    let mut slots = SlotManager::new(mode);
    for (i, drawing) in drawings.iter().enumerate() {
        let name = format!("w{}", i + 1);
        slots.register_worker(worker(&name), InstanceId(1));
        slots.report(&worker(&name), &report(drawing, 100 * (i as u128 + 1)));
        slots.check();
    }
    slots
}

fn grant_all(slots: &mut SlotManager) -> Vec<GrantedSlot> {
    let granted = slots.grant_missing(|_| true, &mut Rng::new(1));
    slots.check();
    granted
}

fn places(granted: &[GrantedSlot]) -> Vec<String> {
    granted.iter().map(|g| g.slot.to_string()).collect()
}

/// One worker with one slot, pending for job A.
fn with_pending_slot() -> (SlotManager, GrantedSlot) {
    let mut slots = with_workers(LoadBalanceMode::None, &["."]);
    slots.declare(job('A'), &need(1));
    let granted = grant_all(&mut slots).remove(0);
    assert_eq!(draw(&slots, "w1"), "?");
    (slots, granted)
}

#[test]
fn free_slots_go_to_jobs_as_the_mode_says() {
    use LoadBalanceMode::{None, Slots};
    let cases: &[(LoadBalanceMode, &[&str], u32, &[&str])] = &[
        (None, &["...", "..."], 4, &["w1_0", "w1_1", "w1_2", "w2_0"]),
        (Slots, &["...", "..."], 3, &["w1_0", "w2_0", "w1_1"]),
        // A third in use against none of one: the shares count, not the numbers.
        (Slots, &["B..", "."], 2, &["w2_0", "w1_1"]),
        (Slots, &["BB......", "B."], 2, &["w1_2", "w1_3"]),
        (None, &["BB", "B."], 2, &["w2_1"]),
        (None, &[], 2, &[]),
    ];
    for (mode, workers, count, expected) in cases {
        let mut slots = with_workers(*mode, workers);
        slots.declare(job('A'), &need(*count));
        let granted = grant_all(&mut slots);
        assert_eq!(places(&granted), *expected, "{mode:?} {workers:?}");
        assert!(grant_all(&mut slots).is_empty(), "granted twice");
    }
}

#[test]
fn the_job_that_asked_first_is_served_first_and_as_far_as_it_goes() {
    let mut slots = with_workers(LoadBalanceMode::None, &["..."]);
    slots.declare(job('B'), &need(2));
    slots.declare(job('A'), &need(2));
    let jobs: Vec<JobId> = grant_all(&mut slots).iter().map(|g| g.grant.job).collect();
    assert_eq!(jobs, [job('B'), job('B'), job('A')]);
    assert_eq!(slots.missing(job('A')), [(ResourceProfile::ANY, 1)]);
}

#[test]
fn a_job_that_is_not_ready_gets_nothing() {
    let mut slots = with_workers(LoadBalanceMode::None, &[".."]);
    slots.declare(job('A'), &need(1));
    slots.declare(job('B'), &need(1));
    let ready = |id| id == job('B');
    assert!(slots.could_grant(ready));
    let granted = slots.grant_missing(ready, &mut Rng::new(1));
    assert_eq!(granted[0].grant.job, job('B'));
    assert!(!slots.could_grant(ready));
}

#[test]
fn a_slot_with_too_little_is_not_given() {
    let mut slots = SlotManager::new(LoadBalanceMode::None);
    slots.register_worker(worker("w1"), InstanceId(1));
    let mut all = report("..", 0);
    all.slots.get_mut(&1).expect("slot 1").profile = profile(2000, 100);
    slots.report(&worker("w1"), &all);
    let big = ResourceRequirement { profile: profile(1500, 50), count: 2 };
    slots.declare(job('A'), &[need(1)[0], big]);
    // The demanding requirement goes first, so that the modest one does not take its only slot.
    let granted = grant_all(&mut slots);
    assert_eq!(places(&granted), ["w1_1", "w1_0"]);
    assert_eq!(granted[0].profile, big.profile);
    assert_eq!(slots.missing(job('A')), [(big.profile, 1)]);
}

#[test]
fn what_a_job_holds_counts_for_what_it_needs() {
    let mut slots = with_workers(LoadBalanceMode::None, &["AA.", "."]);
    slots.declare(job('A'), &need(3));
    assert_eq!(places(&grant_all(&mut slots)), ["w1_2"]);
    assert_eq!(slots.acquired(job('A'))[0].count, 3);
}

#[test]
fn a_declaration_replaces_the_former_one() {
    let mut slots = with_workers(LoadBalanceMode::None, &["AAA"]);
    assert!(!slots.declare(job('A'), &need(3)));
    assert!(!slots.declare(job('A'), &need(4)));
    assert_eq!(slots.missing(job('A')), [(ResourceProfile::ANY, 1)]);
    assert!(slots.declare(job('A'), &need(2)), "it has one too many");
    assert!(!slots.declare(job('A'), &need(2)), "and was told so");
    assert!(slots.missing(job('A')).is_empty());
    assert!(slots.declare(job('A'), &[]));
    assert_eq!(slots.workers_of(job('A')), [worker("w1")].into());
    assert!(!slots.declare(job('B'), &[]));
}

#[test]
fn an_acknowledged_slot_is_allocated_and_an_old_acknowledgement_is_not_believed() {
    let (mut slots, granted) = with_pending_slot();
    assert!(!slots.acknowledged(&granted.slot, AllocationId(9)));
    assert_eq!(draw(&slots, "w1"), "?");
    assert!(slots.acknowledged(&granted.slot, granted.grant.allocation));
    assert_eq!(draw(&slots, "w1"), "A");
}

#[test]
fn an_older_report_does_not_free_a_pending_slot() {
    let (mut slots, granted) = with_pending_slot();
    assert!(!slots.report(&worker("w1"), &report(".", 0)));
    assert_eq!(draw(&slots, "w1"), "?");
    // After the acknowledgement a report has the last word.
    slots.acknowledged(&granted.slot, granted.grant.allocation);
    assert!(slots.report(&worker("w1"), &report(".", 0)));
    assert_eq!(draw(&slots, "w1"), ".");
}

#[test]
fn a_report_that_names_the_grant_is_as_good_as_an_acknowledgement() {
    let (mut slots, granted) = with_pending_slot();
    slots.report(&worker("w1"), &report("A", granted.grant.allocation.0));
    assert_eq!(draw(&slots, "w1"), "A");
    assert!(slots.acknowledged(&granted.slot, granted.grant.allocation));
    assert!(!slots.outcome_unknown(&granted.slot, granted.grant.allocation));
}

#[test]
fn a_slot_that_the_worker_gave_to_another_is_that_others() {
    let (mut slots, granted) = with_pending_slot();
    let holder = Grant { allocation: AllocationId(77), job: job('B') };
    assert!(slots.occupied(&granted.slot, granted.grant.allocation, holder));
    slots.check();
    assert_eq!(draw(&slots, "w1"), "B");
    assert_eq!(slots.missing(job('A')), [(ResourceProfile::ANY, 1)]);
}

#[test]
fn a_lost_answer_leaves_the_slot_aside_until_the_worker_tells() {
    for (told, expected) in [(".", "."), ("A", "A"), ("B", "B")] {
        let (mut slots, granted) = with_pending_slot();
        assert!(slots.outcome_unknown(&granted.slot, granted.grant.allocation));
        assert_eq!(draw(&slots, "w1"), "!");
        assert_eq!(slots.missing(job('A')).len(), 1, "the job need not wait");
        assert!(grant_all(&mut slots).is_empty(), "but not this slot");
        slots.report(&worker("w1"), &report(told, granted.grant.allocation.0));
        slots.check();
        assert_eq!(draw(&slots, "w1"), expected);
    }
}

#[test]
fn a_refused_slot_is_tried_after_all_others() {
    let mut slots = with_workers(LoadBalanceMode::None, &[".", "."]);
    slots.declare(job('A'), &need(1));
    let granted = grant_all(&mut slots).remove(0);
    let refused =
        |slots: &mut SlotManager, g: &GrantedSlot| slots.refused(&g.slot, g.grant.allocation);
    assert_eq!(refused(&mut slots, &granted), Some(1));
    assert_eq!(refused(&mut slots, &granted), None);
    let second = grant_all(&mut slots).remove(0);
    assert_eq!(second.slot, slot("w2", 0));
    refused(&mut slots, &second);
    assert_eq!(grant_all(&mut slots)[0].slot, slot("w1", 0));
}

#[test]
fn only_the_grant_that_a_slot_holds_can_end_there() {
    let mut slots = with_workers(LoadBalanceMode::None, &["A"]);
    assert!(!slots.slot_available(&slot("w1", 0), AllocationId(5)));
    assert!(!slots.slot_available(&slot("w1", 9), AllocationId(100)));
    assert!(slots.slot_available(&slot("w1", 0), AllocationId(100)));
    assert!(!slots.slot_available(&slot("w1", 0), AllocationId(100)));
    slots.check();
    assert_eq!(draw(&slots, "w1"), ".");
}

#[test]
fn a_grant_that_turns_up_elsewhere_has_left_its_former_slot() {
    let mut slots = with_workers(LoadBalanceMode::None, &["A", "."]);
    slots.report(&worker("w2"), &report("A", 100));
    slots.check();
    assert_eq!([draw(&slots, "w1"), draw(&slots, "w2")], [".", "A"]);
}

#[test]
fn two_slots_cannot_claim_one_grant_in_one_report() {
    let mut slots = with_workers(LoadBalanceMode::None, &[".."]);
    let mut both = report("AA", 100);
    both.slots.get_mut(&1).expect("slot 1").allocation = Some((AllocationId(100), job('A')));
    slots.report(&worker("w1"), &both);
    slots.check();
    assert_eq!(draw(&slots, "w1"), ".A");
}

#[test]
fn slots_that_a_worker_no_longer_reports_are_gone_with_their_grants() {
    let (mut slots, granted) = with_pending_slot();
    assert!(slots.report(&worker("w1"), &SlotReport::default()));
    slots.check();
    assert_eq!(slots.counts().total(), 0);
    assert!(!slots.acknowledged(&granted.slot, granted.grant.allocation));
    assert_eq!(slots.missing(job('A')).len(), 1);
}

#[test]
fn a_new_registration_forgets_the_slots_of_the_former_one() {
    let (mut slots, _) = with_pending_slot();
    slots.register_worker(worker("w1"), InstanceId(2));
    slots.check();
    assert_eq!(slots.instance(&worker("w1")), Some(InstanceId(2)));
    assert_eq!(slots.counts(), SlotCounts::default());
    assert!(slots.unregister_worker(&worker("w1")));
    assert!(!slots.unregister_worker(&worker("w1")));
    assert!(!slots.report(&worker("w1"), &report(".", 0)), "a stranger");
}

/// Any sequence of reports, answers and notices keeps the books in order.
#[test]
fn the_books_balance_whatever_is_said() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut slots = with_workers(LoadBalanceMode::Slots, &["....", ".."]);
        let mut granted = Vec::new();
        for _ in 0..200 {
            disturb(&mut slots, &mut rng, &mut granted);
            slots.check();
        }
    }
}

fn disturb(slots: &mut SlotManager, rng: &mut Rng, granted: &mut Vec<GrantedSlot>) {
    let name = ["w1", "w2"][rng.below(2) as usize];
    let any_job = [job('A'), job('B')][rng.below(2) as usize];
    if granted.is_empty() || rng.one_in_thousand(300) {
        slots.declare(any_job, &need(rng.below(5) as u32));
        granted.extend(slots.grant_missing(|_| true, rng));
    }
    if granted.is_empty() {
        return;
    }
    let old = granted[rng.below(granted.len() as u64) as usize].clone();
    let (id, allocation) = (&old.slot, old.grant.allocation);
    match rng.below(8) {
        0 => drop(slots.acknowledged(id, allocation)),
        1 => drop(slots.refused(id, allocation)),
        2 => drop(slots.outcome_unknown(id, allocation)),
        3 => drop(slots.occupied(id, allocation, Grant { allocation, job: any_job })),
        4 => drop(slots.slot_available(id, allocation)),
        5 => drop(slots.report(&worker(name), &report("A.B.", allocation.0))),
        6 => drop(slots.report(&worker(name), &report("....", 0))),
        _ => slots.register_worker(worker(name), InstanceId(rng.next_u128())),
    }
}
