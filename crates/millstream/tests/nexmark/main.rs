//! The Nexmark queries against the results of Flink, row for row: at several parallelisms, from each form of
//! input, after a crash on the way, and when they go on from a savepoint with another parallelism.

#[expect(dead_code, reason = "the report counts the events of a file")]
#[path = "../../examples/nexmark/input.rs"]
mod input;
#[path = "../../examples/nexmark/queries/mod.rs"]
mod queries;

mod expected;
mod forms;
mod job;
mod scratch;

use expected::expected;
use job::{Job, RECORDS};

/// A query gives the rows of Flink, whatever happens.
#[track_caller]
fn check_rows(name: &str) {
    for parallelism in [1, 2, 4] {
        let what = format!("{name} at parallelism {parallelism}");
        expected(name).check(&what, Job::new(name, parallelism).run());
    }
}

/// It gives them in BATCH mode, too.
#[track_caller]
fn check_batch(name: &str) {
    for parallelism in [1, 2, 4] {
        let mut job = Job::new(name, parallelism);
        let rows = job.define("execution.runtime-mode", "BATCH").run();
        expected(name).check(&format!("{name} in BATCH mode at parallelism {parallelism}"), rows);
    }
}

/// It goes on from a checkpoint, not from the beginning.
#[track_caller]
fn check_crash(name: &str) {
    let mut job = Job::new(name, 2);
    job.takes_a_second().fails_once();
    let rows = job.run();
    let failed = job.failure.at().expect("it fails once there is a checkpoint");
    let again = job.seen() - RECORDS;
    assert!(again < failed, "{name}: {again} of {failed} events came again");
    expected(name).check(&format!("{name} after a crash"), rows);
}

/// What was written before the savepoint and what is written after it are the rows of Flink.
#[track_caller]
fn check_rescaling(name: &str) {
    let mut job = Job::new(name, 2);
    job.takes_a_second();
    let (before, savepoint) = job.run_to_savepoint();
    for parallelism in [1, 4] {
        let mut next = Job::new(name, parallelism);
        next.goes_on_from(&savepoint);
        let mut rows = next.run();
        assert!(next.seen() + job.seen() <= RECORDS, "{name}: events came again");
        rows.extend(before.iter().cloned());
        expected(name).check(&format!("{name} from a savepoint at {parallelism}"), rows);
    }
}

macro_rules! queries {
    ($($name:ident)*) => {
        #[test]
        fn no_query_is_forgotten() {
            assert_eq!([$(stringify!($name)),*], crate::queries::QUERIES);
        }

        $(
        mod $name {
            #[test]
            fn gives_the_rows_of_flink_at_every_parallelism() {
                crate::check_rows(stringify!($name));
            }

            #[test]
            fn gives_the_same_rows_in_batch_mode() {
                crate::check_batch(stringify!($name));
            }

            #[test]
            fn gives_the_same_rows_when_it_crashes_on_its_way() {
                crate::check_crash(stringify!($name));
            }

            #[test]
            fn gives_the_same_rows_when_it_goes_on_from_a_savepoint_with_another_parallelism() {
                crate::check_rescaling(stringify!($name));
            }
        })*
    };
}

queries! {
    q0 q1 q2 q3 q4 q5 q7 q8 q9 q10 q11 q12 q13 q14 q15 q16 q17 q18 q19 q20 q21 q22
}
