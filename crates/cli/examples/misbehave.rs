//! A job that does what tests of the cluster ask of it: `misbehave --how WHAT [--output DIR]`.
//!
//! - `count`: counts numbers per key and writes the final counts to `--output`;
//! - `cached`: reads the files `--file` and `--directory` and writes what is in them to `--output`;
//! - `stages`: counts in BATCH mode; what comes out of the counts waits while `--signs` holds a file `hold`,
//!   and fails once, of each file `fail` that is there;
//! - `forever`: runs until it is cancelled;
//! - `panic-in-main`, `panic-in-map`, `panic-in-key`, `panic-in-partitioner`, `panic-in-source`,
//!   `error-in-map`: fail there;
//! - `abort-in-map`: ends the whole job process;
//! - `greedy`: uses more and more memory;
//! - `stuck`: never comes back from a map;
//! - `other-edge`, `other-type`, `environment`: plans that differ where `IN_JOB_PROCESS` says that
//!   this is not the client;
//! - `plan-value`: the same difference, through `plan_value`.

use millstream::operator::metrics::Counter;
use millstream::prelude::*;
use millstream::{sink, source};
use std::error::Error as StdError;

fn main() -> Result<()> {
    let env = Env::from_args()?;
    let how = env.arg("how")?;
    let output = env.arg_opt("output");
    let in_job_process = std::env::var("MILLSTREAM_MODE").as_deref() == Ok("job-process");
    match how.as_str() {
        "count" => count(&env, output),
        "stages" => stages(&env, env.arg("output")?, env.arg("signs")?),
        "forever" => forever(&env),
        "cached" => cached(&env, output)?,
        "panic-in-main" => panic!("as asked, in main"),
        "panic-in-source" => {
            let numbers =
                source::generator(None, |n| if n > 10 { panic!("in the source") } else { n });
            env.source("numbers", numbers).sink("nowhere", sink::blackhole());
        }
        "panic-in-map" => mapped(&env, |n| if n == 7 { panic!("seven") } else { Ok(n) }),
        "panic-in-key" => {
            env.source("numbers", source::generator(None, |n| n).rate(1000))
                .key_by(|n| if *n == 7 { panic!("no key for seven") } else { n % 3 })
                .count()
                .name("keyed")
                .sink("nowhere", sink::blackhole());
        }
        "panic-in-partitioner" => {
            env.source("numbers", source::generator(None, |n| n).rate(1000))
                .partition_custom(|n, _| if *n == 7 { panic!("nowhere for seven") } else { 0 })
                .map(|n| n)
                .name("mapped")
                .set_parallelism(2)
                .sink("nowhere", sink::blackhole());
        }
        "error-in-map" => {
            mapped(&env, |n| if n == 7 { Err("seven is refused".into()) } else { Ok(n) });
        }
        "abort-in-map" => mapped(&env, |n| if n == 7 { std::process::abort() } else { Ok(n) }),
        "greedy" => mapped(&env, |n| {
            std::mem::forget(std::hint::black_box(vec![1_u8; 1 << 20]));
            Ok(n)
        }),
        "stuck" => mapped(&env, |n| {
            loop {
                std::hint::black_box(n);
            }
        }),
        "other-edge" => {
            let numbers = env.source("numbers", source::generator(Some(10), |n| n));
            let numbers = if in_job_process { numbers.shuffle() } else { numbers.rebalance() };
            numbers.map(|n| n).name("mapped").sink("nowhere", sink::blackhole());
        }
        "other-type" => {
            let numbers = env.source("numbers", source::generator(Some(10), |n| n));
            if in_job_process {
                numbers.map(|n| n as i64).name("mapped").sink("nowhere", sink::blackhole());
            } else {
                numbers.map(|n| n).name("mapped").sink("nowhere", sink::blackhole());
            }
        }
        "environment" => named(&env, if in_job_process { "there" } else { "here" }),
        "plan-value" => {
            let name =
                env.plan_value("name", || Str::new(if in_job_process { "there" } else { "here" }))?;
            named(&env, &name);
        }
        other => return Err(Error::argument(format!("`--how {other}` is nothing I know"))),
    }
    env.execute(&how)?;
    Ok(())
}

fn count(env: &Env, output: Option<String>) {
    let counts = env
        .source("numbers", source::generator(Some(100_000), |n| n))
        .key_by(|n| n % 100)
        .count()
        .name("count");
    match output {
        Some(directory) => counts.sink("counts", sink::csv(directory)),
        None => counts.sink("counts", sink::blackhole()),
    };
}

/// Gives what cached files hold with each number, and where the first of them is.
#[derive(Clone, Default)]
struct ReadFiles {
    read: Option<Counter>,
    found: Str,
}

impl ProcessFunction<u64> for ReadFiles {
    type State = ();
    type Out = (u64, Str);

    fn open(&mut self, context: &TaskContext) -> FunctionResult {
        let greeting = context.cached_file("greeting")?;
        let words = context.cached_file("words")?.join("deep/words.txt");
        let (greets, text) = (std::fs::read_to_string(greeting)?, std::fs::read_to_string(words)?);
        self.found = Str::new(&format!("{greets} {text} {}", greeting.display()));
        self.read = Some(context.metrics.counter("read")?);
        Ok(())
    }

    fn process(&mut self, n: u64, ctx: &mut OperatorContext<'_, (), (u64, Str)>) -> FunctionResult {
        if let Some(read) = &self.read {
            read.inc();
        }
        ctx.emit((n, self.found.clone()));
        Ok(())
    }
}

fn cached(env: &Env, output: Option<String>) -> Result<()> {
    env.register_cached_file(env.arg("file")?, "greeting")?;
    env.register_cached_file(env.arg("directory")?, "words")?;
    env.source("numbers", source::generator(Some(10), |n| n))
        .process(ReadFiles::default())
        .name("read files")
        .sink("found", sink::csv(output.unwrap_or_default()));
    Ok(())
}

fn stages(env: &Env, output: String, signs: String) {
    env.set_runtime_mode(RuntimeExecutionMode::Batch);
    let (hold, fail) = (format!("{signs}/hold"), format!("{signs}/fail"));
    env.source("numbers", source::generator(Some(100_000), |n| n))
        .key_by(|n| n % 100)
        .count()
        .name("count")
        .try_map(move |count| {
            if std::fs::remove_file(&fail).is_ok() {
                return Err("as asked".into());
            }
            while std::fs::exists(&hold).unwrap_or(false) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            Ok::<_, Box<dyn StdError>>(count)
        })
        .name("held")
        .sink("counts", sink::csv(output));
}

fn forever(env: &Env) {
    env.source("numbers", source::generator(None, |n| n).rate(1000))
        .key_by(|n| n % 10)
        .count()
        .name("count")
        .sink("nowhere", sink::blackhole());
}

fn mapped(
    env: &Env,
    function: impl Fn(u64) -> std::result::Result<u64, Box<dyn StdError>> + Clone + Send + 'static,
) {
    env.source("numbers", source::generator(None, |n| n).rate(1000))
        .try_map(function)
        .name("mapped")
        .sink("nowhere", sink::blackhole());
}

/// An operator whose name, and so its identity, is captured.
fn named(env: &Env, name: &str) {
    env.source("numbers", source::generator(Some(10), |n| n))
        .map(|n| n)
        .name(name)
        .sink("nowhere", sink::blackhole());
}
