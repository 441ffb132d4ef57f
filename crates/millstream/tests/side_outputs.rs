//! Side outputs in whole programs, embedded: chained, over every kind of edge, several of one operator.

use millstream::api::args::Args;
use millstream::prelude::*;
use millstream::{sink, source};

const NUMBERS: u64 = 20_000;

/// Even numbers go straight on; odd ones, multiples of 1000 and their squares go aside.
#[derive(Clone)]
struct Sort {
    odd: OutputTag<u64>,
    round: OutputTag<String>,
    unread: OutputTag<(u64, u64)>,
}

impl Sort {
    fn new() -> Self {
        let (odd, round) = (OutputTag::new("odd"), OutputTag::new("round"));
        Self { odd, round, unread: OutputTag::new("unread") }
    }
}

impl KeyedProcessFunction<u64, u64> for Sort {
    type State = ();
    type Out = u64;

    fn process(&mut self, n: u64, ctx: &mut ProcessContext<'_, u64, (), u64>) -> FunctionResult {
        if n.is_multiple_of(1_000) {
            ctx.output(&self.round, n.to_string());
        }
        ctx.output(&self.unread, (n, n * n));
        if n.is_multiple_of(2) {
            ctx.emit(n);
        } else {
            ctx.output(&self.odd, n);
        }
        Ok(())
    }
}

fn env(parallelism: &str) -> Env {
    let args = Args::parse(["--parallelism", parallelism].map(str::to_owned));
    Env::with_arguments(args.expect("well formed")).expect("embedded")
}

fn numbers(env: &Env) -> DataStream<u64> {
    env.source("numbers", source::generator(Some(NUMBERS), |i| i))
}

fn sorted<T: Ord>(mut records: Vec<T>) -> Vec<T> {
    records.sort_unstable();
    records
}

#[test]
fn every_record_comes_out_where_the_function_put_it_and_nowhere_else() {
    let env = env("2");
    let sort = Sort::new();
    let [even, odd, odd_again, counted, round] = [(); 5].map(|()| sink::collect::<u64>());
    let rounds = sink::collect::<String>();
    let main = numbers(&env).key_by(|n| n % 100).process(sort.clone()).name("sort");
    // What comes out of the operator goes on in its own task: the side outputs leave from its middle.
    main.map(|n| n).sink("even", even.clone());
    let aside = main.side_output(&sort.odd);
    aside.sink("odd", odd.clone());
    aside.rebalance().map(|n| n).sink("odd again", odd_again.clone());
    aside.key_by(|n| n % 10).count().map(|(_, n)| n).sink("counted", counted.clone());
    main.side_output(&sort.round).broadcast().sink("rounds", rounds.clone());
    main.side_output(&sort.round)
        .map(|text| text.len() as u64)
        .union(&[&main.side_output(&sort.odd).global()])
        .filter(|n| *n < 10)
        .sink("round", round.clone());
    env.execute("side outputs").expect("it ends");

    let expected = |odd: u64| (0..NUMBERS / 2).map(move |n| 2 * n + odd);
    assert!(sorted(even.take()).into_iter().eq(expected(0)));
    assert!(sorted(odd.take()).into_iter().eq(expected(1)));
    assert!(sorted(odd_again.take()).into_iter().eq(expected(1)));
    assert_eq!(counted.take().len() as u64, NUMBERS / 2);
    assert_eq!(rounds.take().len(), 2 * 20, "each of two subtasks has all");
    assert_eq!(round.take().len(), 20 + 5);
}

#[test]
fn what_nobody_reads_is_dropped_and_an_operator_may_have_only_side_outputs() {
    let env = env("1");
    let (sort, odd) = (Sort::new(), sink::collect::<u64>());
    let main = numbers(&env).key_by(|n| n % 100).process(sort.clone()).name("sort");
    main.side_output(&sort.odd).sink("odd", odd.clone());
    env.execute("only one side").expect("it ends");
    assert_eq!(odd.take().len() as u64, NUMBERS / 2);
}

#[test]
fn an_operator_without_a_context_has_no_side_outputs() {
    let env = env("1");
    let tag = OutputTag::<u64>::new("late");
    numbers(&env).map(|n| n).side_output(&tag).sink("late", sink::collect());
    let error = env.execute("no such output").expect_err("refused").to_string();
    assert!(error.starts_with("error[E0107]: side output `late` is read, but"), "{error}");
    assert!(error.contains("operator `map`, declared at crates/millstream/tests/side_outputs.rs"));
}

#[test]
fn one_tag_name_stands_for_one_type() {
    let env = env("1");
    let main = numbers(&env).key_by(|n| n % 100).process(Sort::new()).name("sort");
    main.side_output(&OutputTag::<u64>::new("odd")).sink("odd numbers", sink::collect());
    main.side_output(&OutputTag::<String>::new("odd")).sink("texts", sink::collect());
    let error = env.execute("two types").expect_err("refused").to_string();
    assert!(
        error.contains("side output `odd` is read as u64 and as alloc::string::String"),
        "{error}"
    );
}
