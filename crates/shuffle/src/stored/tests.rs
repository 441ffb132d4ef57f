//! What is written is read back: by each consumer its own, in order, as often as it is asked; and what is
//! not whole is not read at all.

use super::StoredPartitions;
use super::format::{BlockEntry, FOOTER_BYTES, Footer, blocks_of, next_frame};
use crate::batch::{Batch, BoxBatch, cast};
use crate::element::{Control, Found, Watermark};
use crate::partition::{BatchPrototype, ForwardRouter, PartitionWriter, RoundRobinRouter, Router};
use millstream_core::ids::{
    DataSetId, ExecutionAttemptId, ExecutionGraphId, JobVertexId, PartitionId,
};
use proptest::prelude::*;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of its own, which goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("millstream-stored-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn partitions(&self) -> StoredPartitions {
        StoredPartitions::within(self.0.clone())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.partitions().remove_all();
    }
}

fn id(attempt: u32) -> PartitionId {
    let (graph, vertex) = (ExecutionGraphId(1), JobVertexId(2));
    let producer = ExecutionAttemptId { graph, vertex, subtask: 0, attempt };
    PartitionId { data_set: DataSetId(3), producer }
}

fn writer(partitions: &StoredPartitions, consumers: usize) -> PartitionWriter {
    let stored = partitions.create(id(0), consumers).expect("a file can be made");
    let router: Box<dyn Router> = match consumers {
        1 => Box::new(ForwardRouter),
        _ => Box::new(RoundRobinRouter::new(0)),
    };
    PartitionWriter::storing(id(0), BatchPrototype::of::<String>(), router, stored)
}

fn batch_of(records: &[String]) -> BoxBatch {
    let mut batch = Batch::<String>::new();
    batch.items.extend(records.iter().cloned());
    Box::new(batch)
}

/// All that one consumer reads: records, and watermarks as their time.
fn read(partitions: &StoredPartitions, consumer: u32) -> Result<Vec<String>, String> {
    let reader = partitions.open(id(0), consumer).ok_or("there is none")?;
    let mut reader = reader.map_err(|error| error.to_string())?;
    let (mut all, mut buffer) = (Vec::new(), batch_of(&[]));
    loop {
        match reader.poll(&mut buffer).map_err(|error| error.to_string())? {
            Found::Batch => all.append(&mut cast::<String>(buffer.as_mut()).items),
            Found::Control(Control::EndOfPartition) => return Ok(all),
            Found::Control(Control::Watermark(mark)) => all.push(format!("until {}", mark.time)),
            other => return Err(format!("{other:?} was not written")),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_consumer_reads_its_records_in_their_order_as_often_as_it_likes(
        batches in proptest::collection::vec(
            proptest::collection::vec("[a-z]{0,40}", 0..60), 0..20),
        consumers in 1_usize..5,
    ) {
        let scratch = Scratch::new();
        let partitions = scratch.partitions();
        let mut writer = writer(&partitions, consumers);
        for batch in &batches {
            prop_assert!(writer.has_room());
            writer.write(&mut batch_of(batch));
        }
        prop_assert!(read(&partitions, 0).is_err(), "it is not whole yet");
        prop_assert!(writer.flush());
        writer.finish();
        prop_assert_eq!(writer.pump(), Ok(()));
        let all = batches.concat();
        for consumer in 0..consumers {
            let own = all.iter().skip(consumer).step_by(consumers).cloned();
            let own: Vec<String> = own.collect();
            for _ in 0..2 {
                prop_assert_eq!(read(&partitions, consumer as u32), Ok(own.clone()));
            }
        }
        prop_assert!(read(&partitions, consumers as u32).is_err(), "there are no more consumers");
    }

    #[test]
    fn any_bytes_are_understood_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Some(footer) = bytes.first_chunk::<FOOTER_BYTES>()
            && let Some(footer) = Footer::decode(footer)
        {
            prop_assert_eq!(&footer.encode(), &bytes[..FOOTER_BYTES]);
        }
        for consumer in 0..3 {
            let blocks: Vec<BlockEntry> = blocks_of(&bytes, consumer).unwrap_or_default();
            prop_assert!(blocks.len() <= bytes.len());
        }
        let mut at = 0;
        while at < bytes.len() {
            let before = at;
            let Some(_) = next_frame(&bytes, &mut at) else { break };
            prop_assert!(before < at && at <= bytes.len());
        }
    }
}

#[test]
fn a_damaged_file_is_refused_wherever_the_damage_is() {
    let scratch = Scratch::new();
    let partitions = scratch.partitions();
    let mut writer = writer(&partitions, 1);
    let records: Vec<String> = (0..20).map(|n| format!("record {n}")).collect();
    writer.write(&mut batch_of(&records));
    writer.finish();
    assert_eq!(read(&partitions, 0), Ok(records));
    let path = scratch.0.join(id(0).to_string());
    let whole = std::fs::read(&path).expect("it is there");
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&path, damaged).expect("it can be written");
        assert!(read(&partitions, 0).is_err(), "byte {at} was changed");
        std::fs::write(&path, &whole[..at]).expect("it can be written");
        assert!(read(&partitions, 0).is_err(), "cut to {at} bytes");
    }
}

#[test]
fn the_last_of_watermarks_in_a_row_keeps_its_place_and_idleness_is_forgotten() {
    let scratch = Scratch::new();
    let partitions = scratch.partitions();
    let mut writer = writer(&partitions, 2);
    let words = ["to", "be", "or", "not"].map(str::to_owned);
    writer.write(&mut batch_of(&words[..2]));
    writer.push_watermark(Watermark::active(5));
    writer.push_watermark(Watermark::active(7));
    writer.push_watermark(Watermark::idle(9));
    writer.write(&mut batch_of(&words[2..]));
    writer.finish();
    assert_eq!(read(&partitions, 0), Ok(["to", "until 7", "or"].map(str::to_owned).into()));
    assert_eq!(read(&partitions, 1), Ok(["be", "until 7", "not"].map(str::to_owned).into()));
}

#[test]
fn a_row_longer_than_a_block_is_a_block_of_its_own() {
    let scratch = Scratch::new();
    let partitions = scratch.partitions();
    let mut writer = writer(&partitions, 1);
    let records = ["a", &"long ".repeat(200_000), "b"].map(str::to_owned);
    writer.write(&mut batch_of(&records));
    writer.finish();
    assert_eq!(read(&partitions, 0), Ok(records.into()));
}

#[test]
fn a_writer_that_is_dropped_unfinished_leaves_nothing() {
    let scratch = Scratch::new();
    let partitions = scratch.partitions();
    let mut writer = writer(&partitions, 1);
    writer.write(&mut batch_of(&["lost".to_owned()]));
    drop(writer);
    assert_eq!(std::fs::read_dir(&scratch.0).expect("it is there").count(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_the_partition_never_counts_as_whole() {
    let scratch = Scratch::new();
    let partitions = scratch.partitions();
    std::fs::create_dir_all(&scratch.0).expect("a temporary directory");
    let unfinished = scratch.0.join(format!("{}.unfinished", id(0)));
    std::os::unix::fs::symlink("/dev/full", unfinished).expect("a link");
    let mut writer = writer(&partitions, 1);
    writer.write(&mut batch_of(&["no room".to_owned()]));
    writer.finish();
    let error = writer.pump().expect_err("the disk is full").to_string();
    assert!(error.contains("io.tmp.dirs") && error.contains("write results"), "{error}");
    assert!(read(&partitions, 0).is_err());
}

#[test]
fn what_is_removed_cannot_be_opened_and_is_read_on_by_who_has_it_open() {
    let scratch = Scratch::new();
    let partitions = scratch.partitions();
    let mut writer = writer(&partitions, 1);
    writer.write(&mut batch_of(&["here".to_owned()]));
    writer.finish();
    let mut reader = partitions.open(id(0), 0).expect("it is there").expect("it is whole");
    partitions.remove(id(0));
    assert!(partitions.open(id(0), 0).is_none());
    let mut buffer = batch_of(&[]);
    assert_eq!(reader.poll(&mut buffer), Ok(Found::Batch));
    assert_eq!(buffer.len(), 1);
}
