//! What readers of files say of their splits: whose records a poll gave, and when a split is open.

use super::{csv_lines, text_files};
use crate::harness::context;
use crate::scratch::Scratch;
use millstream_core::job_graph::SourceSplit;
use millstream_operator::source::{
    Poll, Source, SourceClock, SourceReader, SplitChange, SplitNumber,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const FILES: u32 = 5;
const LINES: u32 = 100;

/// Files of lines that say which file they are in.
fn write_files(scratch: &Scratch) {
    for file in 0..FILES {
        let lines: String = (0..LINES).map(|line| format!("{file},{line}\n")).collect();
        scratch.write(&format!("in/{file}"), lines);
    }
}

/// How a reader's splits stand, by what it says.
#[derive(Default)]
struct Watch {
    open: BTreeSet<SplitNumber>,
    reading: Option<SplitNumber>,
    /// Which file is in which split.
    files: BTreeMap<SplitNumber, i64>,
    open_max: usize,
    turns: usize,
}

impl Watch {
    /// After a poll that gave these records.
    fn look(&mut self, reader: &mut dyn SourceReader<(i64, i64)>, records: &[(i64, i64)]) {
        let mut ended = Vec::new();
        while let Some(change) = reader.take_split_change() {
            match change {
                SplitChange::Opened(split) => {
                    self.open.insert(split);
                }
                SplitChange::Reading(split) => {
                    self.open.insert(split);
                    self.reading = Some(split);
                    self.turns += 1;
                }
                SplitChange::Ended(split) => ended.push(split),
            }
        }
        self.open_max = self.open_max.max(self.open.len());
        for (file, _) in records {
            let split = self.reading.expect("it is told before its records");
            assert!(self.open.contains(&split));
            assert_eq!(self.files.entry(split).or_insert(*file), file, "{split:?}");
        }
        for split in ended {
            assert!(self.open.remove(&split), "{split:?} was open");
        }
    }
}

fn poll(
    reader: &mut dyn SourceReader<(i64, i64)>,
    splits: &mut VecDeque<SourceSplit>,
    watch: &mut Watch,
    out: &mut Vec<(i64, i64)>,
) -> bool {
    let before = out.len();
    let polled = reader.poll(out, 30, SourceClock { now_us: 0 }).expect("they are readable");
    watch.look(reader, &out[before..]);
    match polled {
        Poll::More => (),
        Poll::NeedSplit => reader.add_split(splits.pop_front()).expect("they are readable"),
        Poll::End => return false,
        Poll::Idle | Poll::WakeAt(_) => panic!("files never wait"),
    }
    true
}

#[test]
fn each_poll_gives_records_of_the_split_that_was_told() {
    let scratch = Scratch::new();
    write_files(&scratch);
    for (at_once, turns) in [(1, FILES as usize), (3, 15), (20, 15)] {
        let source = csv_lines(scratch.path().join("in"), 2, |f| Some((f.number(0), f.number(1))))
            .splits_at_once(at_once);
        let mut splits: VecDeque<_> = source.splits().expect("it is there").into();
        let mut reader = source.reader(&context(0, 1)).expect("it is readable");
        let (mut watch, mut out) = (Watch::default(), Vec::new());
        while poll(&mut *reader, &mut splits, &mut watch, &mut out) {}
        assert_eq!(watch.open_max, at_once.min(FILES as usize));
        assert!(watch.turns >= turns, "{} turns of {at_once} at once", watch.turns);
        assert_eq!(watch.files.len(), FILES as usize);
        assert!(watch.open.is_empty(), "{:?} never ended", watch.open);
        out.sort_unstable();
        let all =
            (0..FILES).flat_map(|file| (0..LINES).map(move |line| (file.into(), line.into())));
        assert!(out.into_iter().eq(all));
    }
}

#[test]
fn splits_that_are_read_at_once_are_all_open_before_the_first_record() {
    let scratch = Scratch::new();
    write_files(&scratch);
    let source = csv_lines(scratch.path().join("in"), 2, |f| Some((f.number(0), f.number(1))))
        .splits_at_once(3);
    let mut splits: VecDeque<_> = source.splits().expect("it is there").into();
    let mut reader = source.reader(&context(0, 1)).expect("it is readable");
    let (mut watch, mut out) = (Watch::default(), Vec::new());
    while out.is_empty() {
        poll(&mut *reader, &mut splits, &mut watch, &mut out);
    }
    assert_eq!(watch.open.len(), 3);
    // So it is after a restore.
    let items = reader.snapshot().expect("it can be told");
    assert_eq!(items.len(), 3);
    let mut next = source.reader(&context(0, 1)).expect("it is readable");
    next.restore(items).expect("they are its own");
    let mut watch = Watch::default();
    out.clear();
    while out.is_empty() {
        poll(&mut *next, &mut splits, &mut watch, &mut out);
    }
    assert_eq!(watch.open.len(), 3);
}

#[test]
#[should_panic(expected = "one split at least is read")]
fn no_split_at_once_is_refused() {
    let _ = text_files("/nowhere").splits_at_once(0);
}
