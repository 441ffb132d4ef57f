//! Two inputs and the broadcast pattern in whole programs, embedded: also when a task fails in the
//! middle and goes on from a checkpoint.

use millstream::api::args::Args;
use millstream::prelude::*;
use millstream::{sink, source};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const RECORDS: u64 = 30_000;
const KEYS: u64 = 50;

fn env(arguments: &[&str]) -> Env {
    let args = Args::parse(arguments.iter().map(|&text| text.to_owned()));
    Env::with_arguments(args.expect("well formed")).expect("embedded")
}

#[derive(KeyedState)]
struct Seen {
    numbers: u64,
    texts: u64,
}

/// How many records of each input a key has had; fails once, in the middle.
#[derive(Clone)]
struct Count {
    failed: Arc<AtomicBool>,
}

impl KeyedCoProcessFunction<u64, u64, Str> for Count {
    type State = Seen;
    type Out = (u64, u64, u64);

    fn process_first(
        &mut self,
        n: u64,
        ctx: &mut ProcessContext<'_, u64, Seen, (u64, u64, u64)>,
    ) -> FunctionResult {
        ctx.state.numbers += 1;
        if n == 2 * RECORDS / 3 && !self.failed.swap(true, Ordering::SeqCst) {
            return Err("as asked".into());
        }
        self.tell(ctx);
        Ok(())
    }

    fn process_second(
        &mut self,
        _text: Str,
        ctx: &mut ProcessContext<'_, u64, Seen, (u64, u64, u64)>,
    ) -> FunctionResult {
        ctx.state.texts += 1;
        self.tell(ctx);
        Ok(())
    }
}

impl Count {
    fn tell(&self, ctx: &mut ProcessContext<'_, u64, Seen, (u64, u64, u64)>) {
        let line = (*ctx.key(), ctx.state.numbers, ctx.state.texts);
        ctx.emit(line);
    }
}

#[test]
fn each_record_of_either_input_counts_once_although_a_task_fails_in_between() {
    fails_in_between("false");
}

#[test]
fn each_record_of_either_input_counts_once_although_barriers_overtake_some() {
    fails_in_between("true");
}

fn fails_in_between(unaligned: &str) {
    let name = format!("millstream-two-{}-{unaligned}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let unaligned = format!("execution.checkpointing.unaligned.enabled={unaligned}");
    let checkpoints = format!("execution.checkpointing.dir={}", directory.display());
    let env = env(&[
        "--parallelism",
        "2",
        "-D",
        &checkpoints,
        "-D",
        "execution.checkpointing.interval=30ms",
        "-D",
        &unaligned,
        "-D",
        "restart-strategy.type=fixed-delay",
        "-D",
        "restart-strategy.fixed-delay.delay=1ms",
    ]);
    let failed = Arc::new(AtomicBool::new(false));
    let numbers = source::generator(Some(RECORDS), |n| n).rate(60_000);
    let texts = source::generator(Some(RECORDS), |n| Str::new(&n.to_string())).rate(60_000);
    let lines = sink::collect();
    let numbers = env.source("numbers", numbers).key_by(|n| n % KEYS);
    let texts = env
        .source("texts", texts)
        .key_by(|text| text.as_str().parse::<u64>().expect("a number") % KEYS);
    numbers
        .connect(&texts)
        .process(Count { failed: failed.clone() })
        .name("count")
        .sink("lines", lines.clone());
    env.execute("two inputs").expect("it goes on");
    let _ = std::fs::remove_dir_all(&directory);
    assert!(failed.load(Ordering::SeqCst), "the failure did not happen");
    // Lines may be there twice; the state behind the last one of a key has counted each record once.
    let mut last = vec![(0, 0); KEYS as usize];
    for (key, numbers, texts) in lines.take() {
        let seen = &mut last[key as usize];
        *seen = (numbers.max(seen.0), texts.max(seen.1));
    }
    assert_eq!(last, vec![(RECORDS / KEYS, RECORDS / KEYS); KEYS as usize]);
}

#[test]
fn a_function_per_input_gives_one_stream() {
    let env = env(&["--parallelism", "2"]);
    let (mapped, flat) = (sink::collect(), sink::collect());
    let numbers = env.source("numbers", source::collection(0..100_u64));
    let words = env.source("words", source::collection(["a", "b"].map(str::to_owned)));
    numbers.connect(&words).map(|n| n.to_string(), |word| word).sink("mapped", mapped.clone());
    words
        .connect(&numbers)
        .flat_map(|word| vec![word.len() as u64; 3], |n| (n < 10).then_some(n))
        .sink("flat", flat.clone());
    env.execute("co map").expect("it ends");
    let mut mapped = mapped.take();
    mapped.sort_unstable();
    assert_eq!((mapped.len(), mapped[100].as_str(), mapped[101].as_str()), (102, "a", "b"));
    assert_eq!(flat.take().into_iter().sum::<u64>(), 2 * 3 + 45);
}

#[derive(OperatorState)]
struct Names {
    names: BroadcastState<u64, String>,
}

/// Gives numbers names; those that have none yet wait.
#[derive(Clone)]
struct Name {
    unnamed: OutputTag<u64>,
}

impl BroadcastProcessFunction<u64, (u64, String)> for Name {
    type Broadcast = Names;
    type Out = String;

    fn process(
        &mut self,
        n: u64,
        broadcast: &Names,
        ctx: &mut OperatorContext<'_, (), String>,
    ) -> FunctionResult {
        match broadcast.names.get(&n) {
            Some(name) => ctx.emit(name.clone()),
            None => ctx.output(&self.unnamed, n),
        }
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        (n, name): (u64, String),
        ctx: &mut OperatorContext<'_, Names, String>,
    ) -> FunctionResult {
        ctx.emit(format!("{name} is known"));
        ctx.state.names.insert(n, name);
        Ok(())
    }
}

#[test]
fn every_subtask_sees_all_that_is_broadcast() {
    let env = env(&["--parallelism", "3"]);
    let (named, unnamed) = (sink::collect(), sink::collect());
    let numbers = source::generator(Some(3_000), |n| n % 3).rate(10_000);
    let numbers = env.source("numbers", numbers);
    let names = [(0, "zero"), (1, "one")].map(|(n, name)| (n, name.to_owned()));
    let names = env.source("names", source::collection(names));
    let tag = OutputTag::new("unnamed");
    let stream =
        numbers.connect_broadcast(&names).process(Name { unnamed: tag.clone() }).name("name");
    stream.sink("named", named.clone());
    stream.side_output(&tag).sink("unnamed", unnamed.clone());
    env.execute("broadcast").expect("it ends");
    let (named, unnamed) = (named.take(), unnamed.take());
    let known = named.iter().filter(|line| line.ends_with("is known")).count();
    assert_eq!(known, 2 * 3, "each subtask has heard of each name");
    assert_eq!(named.len() - known + unnamed.len(), 3_000);
    assert!(unnamed.iter().filter(|n| **n == 2).count() == 1_000);
    assert!(named.iter().any(|name| name == "one"), "no name was known in time");
}
