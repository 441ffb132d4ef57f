//! Who goes when job processes use more memory than there is.

use super::*;
use millstream_core::ids::AllocationId;

const GIB: u64 = 1 << 30;

/// The job has one of two slots of a worker with ten gigabytes.
fn bench() -> Bench {
    Bench::with_memory(10 * GIB).register().connect().run()
}

fn uses(bytes: u64) -> ChildEvent {
    ChildEvent::Memory { bytes }
}

/// Another job in the other slot, whose process has just been started.
fn with_neighbour(bench: &mut Bench) -> JobId {
    let other = JobId(8);
    let request = ToTaskExecutor::RequestSlot {
        slot: SlotId { resource: resource(), index: 1 },
        job: other,
        allocation: AllocationId(0xB),
        profile: ResourceProfile::ANY,
        job_master: address("jm:1", EndpointName::JobMaster(other)),
        resource_manager: RM,
    };
    assert_eq!(bench.ask(request), Answer::Ack);
    bench.answer(fenced_by_jm());
    bench.answer(job_master_answer());
    bench.answer(accept(&[0xB]));
    let (mut descriptor, mut job) = submission(attempt(0, 0), 0xB);
    (descriptor.job, job.job) = (other, other);
    descriptor.attempt.graph = ExecutionGraphId(2);
    let submission = ToTaskExecutor::SubmitTask { descriptor, job, job_master: JM };
    assert_eq!(bench.ask(submission), Answer::Ack);
    other
}

#[test]
fn a_job_may_use_what_others_leave_free() {
    let mut bench = bench();
    bench.child(1, uses(9 * GIB));
    assert!(bench.ops().is_empty(), "its share is half of that, but nobody else needs it");
}

#[test]
fn a_job_that_uses_more_than_there_is_fails_with_what_to_change() {
    let mut bench = bench();
    bench.child(1, uses(10 * GIB));
    assert_eq!(bench.ops(), ["kill 1"]);
    bench.child(1, uses(11 * GIB));
    assert!(bench.ops().is_empty(), "it is being killed already");
    bench.child(1, exited(ExitStatus::Signal("SIGKILL".to_owned())));
    let told = bench.asked();
    let [(_, Message::JobMaster(ToJobMaster::UpdateTaskExecutionState(update)))] = &told[..] else {
        panic!("{told:?}")
    };
    let failure = update.failure.as_ref().expect("it failed");
    assert_eq!(
        failure.message,
        "job process 1 (pid 42) of worker tm-1 was killed because it used 10240 MiB of memory: the \
         share of its 1 of 2 slots is 4608 MiB, and all job processes of the worker used 10240 MiB \
         of 9216 MiB. Raise `taskmanager.memory.process.size` (now 10240 MiB), or spread the job \
         over more workers"
    );
}

#[test]
fn the_job_furthest_above_its_share_goes_and_not_the_one_that_grew_last() {
    let mut bench = bench();
    let other = with_neighbour(&mut bench);
    bench.child(1, uses(7 * GIB));
    let event = uses(4 * GIB);
    let result = Done::Child { job: other, incarnation: 1, event };
    bench.step(Input::Done { op: UNSOLICITED, result });
    assert_eq!(bench.ops(), ["kill 1"]);
    assert_eq!(bench.te.jobs()[&JOB].child.memory(), 0, "it was the first job's");
    assert_eq!(bench.te.jobs()[&other].child.memory(), 4 * GIB);
}

#[test]
fn nobody_watches_a_worker_without_a_budget() {
    let mut bench = Bench::running();
    bench.child(1, uses(u64::MAX));
    assert!(bench.ops().is_empty());
}
