//! The decoder of frames, on frames and on anything else.

use super::barrier;
use super::buffer::BufferPool;
use super::frame::*;
use super::watermark;
use crate::element::{Control, Watermark};
use millstream_core::checkpoint::{Alignment, Barrier, CheckpointId, SnapshotKind};
use millstream_core::ids::{
    DataSetId, ExecutionAttemptId, ExecutionGraphId, JobVertexId, PartitionId,
};
use proptest::prelude::*;

/// Feeds the bytes in pieces of these sizes, in turn; gives what came out.
fn decode(bytes: &[u8], steps: &[usize], pool: &BufferPool) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = FrameDecoder::new(pool.clone());
    let (mut frames, mut left, mut steps) = (Vec::new(), bytes, steps.iter().cycle());
    while !left.is_empty() {
        let step = (*steps.next().expect("a cycle")).min(left.len());
        left = &left[offer(&mut decoder, &left[..step])..];
        loop {
            match decoder.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// Copies what fits into the decoder's spaces, as a read would; gives how much that was.
fn offer(decoder: &mut FrameDecoder, bytes: &[u8]) -> usize {
    let mut offered = 0;
    for mut space in decoder.spaces() {
        let n = space.len().min(bytes.len() - offered);
        space[..n].copy_from_slice(&bytes[offered..offered + n]);
        offered += n;
    }
    assert!(offered > 0, "there is always space");
    decoder.advance(offered);
    offered
}

fn written(header: &Header, payload: &[u8]) -> Vec<u8> {
    let header = Header { length: payload.len() as u32, ..*header };
    [&header.encode()[..], payload].concat()
}

fn any_frame() -> impl Strategy<Value = (Header, Vec<u8>)> {
    let payload = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..200),
        1 => prop::collection::vec(any::<u8>(), ROWS_BYTES_MAX - 3..=ROWS_BYTES_MAX),
    ];
    let data = (any::<[u32; 3]>(), 0_u8..8, payload).prop_map(|(words, flags, payload)| {
        let [channel, sequence, count] = words;
        (Header { length: 0, kind: Kind::Data, flags, channel, sequence, count }, payload)
    });
    let credit = any::<[u32; 2]>()
        .prop_map(|[channel, count]| (Header::bare(Kind::Credit, channel, count), Vec::new()));
    let cancel = any::<[u32; 2]>().prop_map(|[channel, sequence]| {
        let header = Header { sequence, ..Header::bare(Kind::CancelBarrier, channel, 0) };
        (header, barrier::encode_cancel(CheckpointId(u64::from(sequence))))
    });
    prop_oneof![data, credit, cancel]
}

fn any_barrier() -> impl Strategy<Value = Barrier> {
    let kind = prop::sample::select(vec![
        SnapshotKind::Checkpoint,
        SnapshotKind::FullCheckpoint,
        SnapshotKind::Savepoint,
        SnapshotKind::Suspend,
        SnapshotKind::Drain,
    ]);
    let alignment = prop_oneof![
        Just(Alignment::Aligned),
        Just(Alignment::AtLeastOnce),
        Just(Alignment::Unaligned),
        any::<u32>().prop_map(Alignment::AlignedUntil),
    ];
    (any::<u64>(), any::<i64>(), kind, alignment).prop_map(
        |(checkpoint, timestamp, kind, alignment)| Barrier {
            checkpoint: CheckpointId(checkpoint),
            timestamp,
            kind,
            alignment,
        },
    )
}

/// A frame of this kind with this payload.
fn control_frame(kind: Kind, payload: &[u8]) -> Frame {
    let mut buffer = BufferPool::for_reading().take();
    buffer[..payload.len()].copy_from_slice(payload);
    let header = Header { length: payload.len() as u32, ..Header::bare(kind, 0, 0) };
    Frame { header, buffer: Some(buffer) }
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut(
        frames in prop::collection::vec(any_frame(), 1..20),
        steps in prop::collection::vec(1_usize..9000, 1..10),
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(h, p)| written(h, p)).collect();
        let (decoded, error) = decode(&bytes, &steps, &BufferPool::for_reading());
        prop_assert_eq!(error, None);
        prop_assert_eq!(decoded.len(), frames.len());
        for (frame, (header, payload)) in decoded.iter().zip(&frames) {
            let length = payload.len() as u32;
            prop_assert_eq!(frame.header, Header { length, ..*header });
            prop_assert_eq!(frame.payload(), &payload[..]);
        }
    }

    #[test]
    fn any_bytes_are_frames_or_an_error_and_take_one_buffer_per_frame(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        kinds in prop::collection::vec(0_u8..24, 1..10),
        steps in prop::collection::vec(1_usize..300, 1..5),
    ) {
        // Random bytes hardly ever look like a header; some do if a few bytes are tamed.
        let mut tamed = bytes.clone();
        for (header, kind) in tamed.chunks_mut(60).zip(kinds.iter().cycle()) {
            if let Some(head) = header.first_chunk_mut::<8>() {
                *head = [head[0] % 64, 0, 0, 0, *kind, head[5] % 4, 0, 0];
            }
        }
        for bytes in [&bytes, &tamed] {
            let pool = BufferPool::for_reading();
            let (frames, _) = decode(bytes, &steps, &pool);
            prop_assert!(pool.counters().allocated as usize <= frames.len() + 1);
            let consumed: usize = frames.iter().map(|f| HEADER_BYTES + f.payload().len()).sum();
            let again: Vec<u8> =
                frames.iter().flat_map(|f| written(&f.header, f.payload())).collect();
            prop_assert_eq!(&again[..], &bytes[..consumed], "there is one way to write a frame");
        }
    }

    #[test]
    fn a_header_that_decodes_encodes_to_the_same_bytes(bytes in any::<[u8; HEADER_BYTES]>()) {
        let mut tamed = bytes;
        (tamed[2], tamed[3], tamed[4], tamed[6], tamed[7]) = (0, 0, bytes[4] % 24, 0, 0);
        for bytes in [bytes, tamed] {
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert_eq!(header.encode(), bytes);
            }
        }
    }

    #[test]
    fn a_barrier_survives_and_there_is_one_way_to_write_it(
        barrier in any_barrier(),
        bytes in prop::collection::vec(any::<u8>(), 0..=24),
        tame in any::<[u8; 2]>(),
    ) {
        let written = control_frame(Kind::Barrier, &barrier::encode_barrier(&barrier));
        prop_assert_eq!(barrier::decode(&written), Ok(Control::Barrier(barrier)));
        let mut tamed = bytes.clone();
        if let Some(middle) = tamed.get_mut(16..20) {
            middle.copy_from_slice(&[tame[0] % 6, tame[1] % 5, 0, 0]);
        }
        for bytes in [bytes, tamed] {
            if let Ok(Control::Barrier(barrier)) =
                barrier::decode(&control_frame(Kind::Barrier, &bytes))
            {
                prop_assert_eq!(barrier::encode_barrier(&barrier), bytes);
            }
        }
    }

    #[test]
    fn a_watermark_survives_and_there_is_one_way_to_write_it(
        time in any::<i64>(),
        idle in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 0..=10),
    ) {
        let sent = if idle { Watermark::idle(time) } else { Watermark::active(time) };
        let written = control_frame(Kind::Watermark, &watermark::encode_watermark(sent));
        prop_assert_eq!(watermark::decode(&written), Ok(Control::Watermark(sent)));
        if let Ok(Control::Watermark(read)) =
            watermark::decode(&control_frame(Kind::Watermark, &bytes))
        {
            prop_assert_eq!(watermark::encode_watermark(read), bytes);
        }
    }

    #[test]
    fn a_subscription_survives_and_nothing_else_is_one(
        ids in any::<[u128; 3]>(),
        numbers in any::<[u32; 3]>(),
        cut in 1_usize..60,
    ) {
        let producer = ExecutionAttemptId {
            graph: ExecutionGraphId(ids[1]),
            vertex: JobVertexId(ids[2]),
            subtask: numbers[0],
            attempt: numbers[1],
        };
        let partition = PartitionId { data_set: DataSetId(ids[0]), producer };
        let subscription = Subscription { partition, subpartition: numbers[2] };
        let bytes = subscription.encode();
        prop_assert_eq!(Subscription::decode(&bytes), Ok(subscription));
        prop_assert!(Subscription::decode(&bytes[cut..]).is_err());
        prop_assert!(Subscription::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}

#[test]
fn a_barrier_is_written_as_it_always_was() {
    let barrier = Barrier {
        checkpoint: CheckpointId(0x0102_0304_0506_0708),
        timestamp: -2,
        kind: SnapshotKind::Drain,
        alignment: Alignment::AlignedUntil(0x0a0b_0c0d),
    };
    let expected = [
        [8, 7, 6, 5, 4, 3, 2, 1],
        [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        [4, 3, 0, 0, 0x0d, 0x0c, 0x0b, 0x0a],
    ];
    assert_eq!(barrier::encode_barrier(&barrier), expected.concat());
    assert_eq!(barrier::encode_cancel(CheckpointId(258)), [2, 1, 0, 0, 0, 0, 0, 0]);
    let cancel = control_frame(Kind::CancelBarrier, &[2, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(barrier::decode(&cancel), Ok(Control::CancelBarrier(CheckpointId(258))));
    assert_eq!((Kind::Barrier as u8, Kind::CancelBarrier as u8, VERSION), (21, 22, 2));
}

#[test]
fn a_barrier_of_another_length_or_with_unknown_numbers_is_refused() {
    let barrier = Barrier {
        checkpoint: CheckpointId(1),
        timestamp: 2,
        kind: SnapshotKind::Checkpoint,
        alignment: Alignment::Aligned,
    };
    let bytes = barrier::encode_barrier(&barrier);
    let refused = |bytes: &[u8]| {
        let decoded = barrier::decode(&control_frame(Kind::Barrier, bytes));
        assert_eq!(decoded, Err(FrameError::Malformed("barrier")), "{bytes:?}");
    };
    refused(&bytes[..23]);
    refused(&[]);
    for (at, value) in [(16, 5), (17, 4), (18, 1), (19, 1), (20, 1)] {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        refused(&bytes);
    }
    let cut = control_frame(Kind::CancelBarrier, &[0; 7]);
    assert_eq!(barrier::decode(&cut), Err(FrameError::Malformed("barrier")));
    let mut header = Header::bare(Kind::Barrier, 3, 0).encode();
    header[0] = 25;
    let (_, error) = decode(&header, &[20], &BufferPool::for_reading());
    assert!(matches!(error, Some(FrameError::TooLong { channel: 3, max: 24, .. })), "{error:?}");
}

#[test]
fn a_claimed_length_is_refused_before_anything_is_taken_for_it() {
    let pool = BufferPool::for_reading();
    let mut bytes = Header::bare(Kind::Data, 3, 1).encode();
    bytes[..4].copy_from_slice(&(ROWS_BYTES_MAX as u32 + 1).to_le_bytes());
    let (frames, error) = decode(&bytes, &[7], &pool);
    assert!(frames.is_empty());
    assert!(matches!(error, Some(FrameError::TooLong { channel: 3, .. })), "{error:?}");
    assert_eq!(pool.counters().taken, 0);
}
