//! WordCount: `plain` emits a running count for each word, `combined` counts locally first and
//! emits one final count per distinct word.

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;
use millstream_rivals::report::{Clock, Throughput};
use millstream_rivals::results::Results;
use renoir::operator::Operator;
use renoir::{RuntimeConfig, Stream, StreamContext};

pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let input = arguments.required("input")?;
    let parallelism = arguments.value("parallelism", 1)?;
    let variant = arguments.value("variant", "plain".to_owned())?;
    let results = Results::from_arguments(&mut arguments);
    arguments.finish()?;

    let clock = Clock::start();
    let env = StreamContext::new(RuntimeConfig::local(parallelism as u64)?);
    match variant.as_str() {
        "plain" => count_running(words(&env, &input), results.clone()),
        "combined" => count_combined(words(&env, &input), results.clone()),
        _ => return Err(format!("no variant {variant:?}, but plain, combined").into()),
    }
    env.execute_blocking();
    let cost = clock.stop();

    let name = ("wordcount", "renoir", variant.as_str());
    Throughput::new(name, parallelism, results.close()?, cost).print();
    Ok(())
}

fn words(env: &StreamContext, input: &str) -> Stream<impl Operator<Out = String> + use<>> {
    env.stream_file(input)
        .batch_mode(crate::batch_mode())
        .flat_map(|line| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

fn count_running(words: Stream<impl Operator<Out = String> + 'static>, mut results: Results<str>) {
    words
        .group_by(|word| word.clone())
        .rich_map({
            let mut count = 0;
            move |_| {
                count += 1;
                count
            }
        })
        .for_each(move |(word, count)| results.accept(&word, count));
}

fn count_combined(words: Stream<impl Operator<Out = String> + 'static>, mut results: Results<str>) {
    words
        .group_by_count(|word| word.clone())
        .for_each(move |(word, count)| results.accept_final(&word, count as i64, count as u64));
}
