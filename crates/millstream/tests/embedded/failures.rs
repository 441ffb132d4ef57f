//! Failures of user code name the operator, the lines of the program and the cause.

use millstream::api::args::Args;
use millstream::prelude::*;
use millstream::{sink, source};
use std::panic::Location;

/// Runs the job that `declare` adds to a stream of numbers and gives the text of its failure.
fn failure_of(declare: impl FnOnce(&DataStream<u64>)) -> String {
    let env = Env::with_arguments(Args::default()).expect("the environment is not set");
    env.set_parallelism(2);
    declare(&env.source("numbers", source::generator(Some(100), |n| n)));
    let error = env.execute("failing").expect_err("the user's function panics");
    error.to_string()
}

#[track_caller]
fn check(failure: &str, parts: &[&str]) {
    for part in parts {
        assert!(failure.contains(part), "`{part}` is not in {failure}");
    }
}

/// `file:line` of the call, so many lines further down.
#[track_caller]
fn below(lines: u32) -> String {
    let here = Location::caller();
    format!("{}:{}", here.file(), here.line() + lines)
}

#[test]
fn a_panic_in_a_key_selector_names_the_operator_and_the_lines_of_both() {
    let (selector, operator) = (below(3), below(4));
    let failure = failure_of(|numbers| {
        numbers
            .key_by(|n| if *n == 7 { panic!("no key for seven") } else { n % 3 })
            .count()
            .name("per remainder")
            .sink("nowhere", sink::blackhole());
    });
    let operator = format!("operator `per remainder` declared at {operator} failed");
    let selector = format!("key selector declared at {selector}: panic: no key for seven");
    check(&failure, &[&operator, &selector]);
}

#[test]
fn a_panic_in_a_key_selector_by_reference_names_the_operator_and_the_lines_of_both() {
    let (selector, operator) = (below(3), below(4));
    let failure = failure_of(|numbers| {
        numbers
            .key_by_ref(|n| if *n == 7 { panic!("no key for seven") } else { n })
            .reduce(|a, _| a)
            .sink("nowhere", sink::blackhole());
    });
    let operator = format!("operator `reduce` declared at {operator} failed");
    let selector = format!("key selector declared at {selector}: panic: no key for seven");
    check(&failure, &[&operator, &selector]);
}

#[test]
fn a_panic_in_a_key_selector_before_a_combiner_names_the_combiner_and_its_line() {
    let operator = below(5);
    let failure = failure_of(|numbers| {
        numbers
            .key_by(|n| if *n == 7 { panic!("no key for seven") } else { n % 3 })
            .combine()
            .count()
            .sink("nowhere", sink::blackhole());
    });
    let operator = format!("operator `combine` declared at {operator} failed");
    check(&failure, &[&operator, "panic: no key for seven"]);
}

#[test]
fn a_panic_in_a_partitioner_names_the_operator_and_the_lines_of_both() {
    let (partitioner, operator) = (below(3), below(4));
    let failure = failure_of(|numbers| {
        numbers
            .partition_custom(|n, _| if *n == 7 { panic!("nowhere for seven") } else { 0 })
            .map(|n| n)
            .sink("nowhere", sink::blackhole());
    });
    let operator = format!("operator `map` declared at {operator} failed");
    let partitioner = format!("partitioner declared at {partitioner}: panic: nowhere for seven");
    check(&failure, &[&operator, &partitioner]);
}

#[test]
fn a_partitioner_that_chooses_nobody_is_told_what_to_return() {
    let failure = failure_of(|numbers| {
        let numbers = numbers.partition_custom(|_, consumers| consumers);
        numbers.sink("nobody", sink::blackhole());
    });
    check(&failure, &["operator `nobody`", "partitioner declared at", "chose consumer 2"]);
}
