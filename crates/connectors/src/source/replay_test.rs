//! Every source, stopped at any moment and gone on with by any number of subtasks, gives each record
//! exactly once.
//!
//! A life is a number of checkpoints with what comes between: how many records each poll asks for, how
//! many polls, which parallelism follows, and in which order the items are dealt out.

use super::{collection, generator, json_lines, text_files};
use crate::harness::context;
use crate::nexmark;
use crate::scratch::Scratch;
use millstream_core::job_graph::SourceSplit;
use millstream_operator::source::{Poll, Source, SourceClock, SourceReader};
use proptest::prelude::*;
use std::collections::VecDeque;

/// What happens between two checkpoints.
#[derive(Clone, Debug)]
struct Era {
    parallelism: u32,
    /// Which subtask is polled, and for how many records.
    polls: Vec<(u32, usize)>,
    /// Deals the items of the checkpoint before.
    deal: u64,
}

fn eras() -> impl Strategy<Value = Vec<Era>> {
    let polls = prop::collection::vec((0..6_u32, 1..40_usize), 0..30);
    let era = (1..6_u32, polls, any::<u64>());
    let era = era.prop_map(|(parallelism, polls, deal)| Era { parallelism, polls, deal });
    prop::collection::vec(era, 1..8)
}

/// The items of a checkpoint, shuffled and cut into shares.
fn dealt(mut items: Vec<Vec<u8>>, parallelism: u32, mut deal: u64) -> Vec<Vec<Vec<u8>>> {
    let mut next = |below: usize| {
        deal = deal.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (deal >> 33) as usize % below
    };
    for i in (1..items.len()).rev() {
        items.swap(i, next(i + 1));
    }
    let mut shares = vec![Vec::new(); parallelism as usize];
    for item in items {
        shares[next(parallelism as usize)].push(item);
    }
    shares
}

/// One poll, and the answer to what it asked for; whether the reader has ended.
fn poll<T>(
    reader: &mut dyn SourceReader<T>,
    room: usize,
    splits: &mut VecDeque<SourceSplit>,
    now_us: &mut u64,
    out: &mut Vec<T>,
) -> bool {
    match reader.poll(out, room, SourceClock { now_us: *now_us }).expect("it is readable") {
        Poll::More => (),
        Poll::Idle => panic!("this source never waits"),
        Poll::WakeAt(at) => *now_us = at,
        Poll::NeedSplit => reader.add_split(splits.pop_front()).expect("it is readable"),
        Poll::End => return true,
    }
    false
}

/// All records of a life, and of the end that follows it.
fn live<T>(source: &impl Source<T>, eras: &[Era]) -> Vec<T> {
    let mut splits: VecDeque<SourceSplit> = source.splits().expect("it can be planned").into();
    let (mut out, mut now_us) = (Vec::new(), 0);
    let mut checkpoint: Option<Vec<Vec<u8>>> = None;
    for era in eras {
        let mut readers: Vec<_> = (0..era.parallelism)
            .map(|i| source.reader(&context(i, era.parallelism)).expect("it is readable"))
            .collect();
        if let Some(items) = checkpoint {
            // The clock of another process.
            now_us = 0;
            for (reader, share) in readers.iter_mut().zip(dealt(items, era.parallelism, era.deal)) {
                reader.restore(share).expect("it is its own");
            }
        }
        let mut ended = vec![false; readers.len()];
        for (at, room) in &era.polls {
            let at = *at as usize % readers.len();
            if !ended[at] {
                ended[at] = poll(&mut *readers[at], *room, &mut splits, &mut now_us, &mut out);
            }
        }
        let items = readers.iter_mut().map(|reader| reader.snapshot().expect("it can be told"));
        checkpoint = Some(items.collect::<Vec<_>>().concat());
    }
    let mut last = source.reader(&context(0, 1)).expect("it is readable");
    last.restore(checkpoint.unwrap_or_default()).expect("it is its own");
    while !poll(&mut *last, 100, &mut splits, &mut now_us, &mut out) {}
    out
}

#[track_caller]
fn check<T: Ord + Clone + std::fmt::Debug>(
    source: &impl Source<T>,
    eras: &[Era],
    expected: impl IntoIterator<Item = T>,
) {
    let mut records = live(source, eras);
    records.sort_unstable();
    let mut expected: Vec<T> = expected.into_iter().collect();
    expected.sort_unstable();
    assert!(records == expected, "{} records instead of {}", records.len(), expected.len());
}

/// Lines of many kinds: empty, long, with carriage returns, not UTF-8, after a byte order mark. Each
/// has a number of its own.
fn text(lines: u32) -> (Vec<u8>, Vec<String>) {
    let mut bytes = "\u{FEFF}".as_bytes().to_vec();
    let mut expected = Vec::new();
    for number in 0..lines {
        let filler = match number % 7 {
            0 => String::new(),
            1 => "x".repeat(number as usize % 300),
            2 => "caf\u{e9} ".repeat(3),
            _ => "word".to_owned(),
        };
        bytes.extend(format!("{number} {filler}").as_bytes());
        let mut line = format!("{number} {filler}");
        if number % 5 == 0 {
            bytes.extend(b"\xFF\xFE");
            line.push_str("\u{FFFD}\u{FFFD}");
        }
        bytes.extend(if number % 3 == 0 { b"\r\n".as_slice() } else { b"\n" });
        expected.push(line);
        if number % 11 == 0 {
            bytes.push(b'\n');
            expected.push(String::new());
        }
    }
    (bytes, expected)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_collection_gives_each_record_once(eras in eras(), count in 0..400_u32) {
        check(&collection(0..count), &eras, 0..count);
    }

    #[test]
    fn a_generator_gives_each_index_once(eras in eras(), count in 0..2000_u64, rate in 0..3000_u64) {
        let source = generator(Some(count), |index| index);
        let source = if rate > 0 { source.rate(rate) } else { source };
        check(&source, &eras, 0..count);
    }

    #[test]
    fn nexmark_gives_each_event_once(eras in eras()) {
        let events = nexmark::generator(nexmark::Config::default());
        let expected: Vec<String> =
            events.iter().take(300).map(|event| format!("{event:?}")).collect();
        let mut records: Vec<String> =
            live(&events.source(Some(300)), &eras).iter().map(|event| format!("{event:?}")).collect();
        records.sort_unstable();
        let mut expected = expected;
        expected.sort_unstable();
        prop_assert_eq!(records, expected);
    }

    #[test]
    fn text_files_give_each_line_once(
        eras in eras(),
        lines in 0..300_u32,
        split in 1..4000_u64,
        at_once in 1..5_usize,
    ) {
        let scratch = Scratch::new();
        let (bytes, mut expected) = text(lines);
        scratch.write("in/a", bytes);
        scratch.write("in/b", "last line of all\nwithout a newline");
        expected.extend(["last line of all".to_owned(), "without a newline".to_owned()]);
        let source =
            text_files(scratch.path().join("in")).split_bytes(split).splits_at_once(at_once);
        let mut records: Vec<String> =
            live(&source, &eras).iter().map(|line| line.as_str().to_owned()).collect();
        records.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(records, expected);
    }

    #[test]
    fn json_lines_give_each_value_once(eras in eras(), count in 0..500_u32, split in 1..2000_u64) {
        let scratch = Scratch::new();
        let blank = |number: u32| if number.is_multiple_of(4) { "\n \r\n" } else { "" };
        let text: String = (0..count).map(|n| format!("[{n}]{}\n", blank(n))).collect();
        let source = json_lines::<(u32,)>(scratch.write("x", text)).split_bytes(split);
        check(&source, &eras, (0..count).map(|number| (number,)));
    }
}

#[test]
fn a_file_of_many_blocks_is_gone_on_with_in_the_middle_of_a_block() {
    let scratch = Scratch::new();
    let text: String = (0..100_000).map(|number| format!("line number {number}\n")).collect();
    let source = text_files(scratch.write("x", text)).split_bytes(1 << 20);
    let polls = (0..70).map(|number| (number % 2, 777)).collect::<Vec<_>>();
    let era = |deal| Era { parallelism: 2, polls: polls.clone(), deal };
    let lines = live(&source, &[era(1), era(2)]);
    let mut numbers: Vec<u32> = lines
        .iter()
        .map(|line| line.strip_prefix("line number ").expect("whole").parse().expect("whole"))
        .collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..100_000));
}

#[test]
fn a_file_that_became_shorter_is_refused_by_a_restored_reader() {
    let scratch = Scratch::new();
    let path = scratch.write("x", "a\nb\nc\n");
    let source = text_files(&path);
    let mut splits: VecDeque<_> = source.splits().expect("it is there").into();
    let mut reader = source.reader(&context(0, 1)).expect("it is readable");
    let mut out = Vec::new();
    for _ in 0..2 {
        poll(&mut *reader, 2, &mut splits, &mut 0, &mut out);
    }
    assert_eq!(out.len(), 2);
    let items = reader.snapshot().expect("it can be told");
    scratch.write("x", "");
    let mut next = source.reader(&context(0, 1)).expect("it is readable");
    next.restore(items).expect("it can be read");
    let error = next.poll(&mut out, 2, SourceClock { now_us: 0 }).expect_err("it is shorter");
    assert!(error.message.contains("it has become shorter since the checkpoint"), "{error}");

    let json = json_lines::<(u32,)>(scratch.write("y", "[1]\n[2]\n"));
    let mut splits: VecDeque<_> = json.splits().expect("it is there").into();
    let mut reader = json.reader(&context(0, 1)).expect("it is readable");
    let mut out = Vec::new();
    for _ in 0..2 {
        poll(&mut *reader, 1, &mut splits, &mut 0, &mut out);
    }
    let items = reader.snapshot().expect("it can be told");
    scratch.write("y", "[1]");
    let mut next = json.reader(&context(0, 1)).expect("it is readable");
    next.restore(items).expect("it can be read");
    let error = next.poll(&mut out, 2, SourceClock { now_us: 0 }).expect_err("it is shorter");
    assert!(error.message.contains("the file has only 3 bytes now"), "{error}");
}
