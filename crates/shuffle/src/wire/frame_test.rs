//! The decoder of frames, on frames and on anything else.

use super::buffer::BufferPool;
use super::frame::*;
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
    let data = (any::<[u32; 3]>(), 0_u8..4, payload).prop_map(|(words, flags, payload)| {
        let [channel, sequence, count] = words;
        (Header { length: 0, kind: Kind::Data, flags, channel, sequence, count }, payload)
    });
    let credit = any::<[u32; 2]>()
        .prop_map(|[channel, count]| (Header::bare(Kind::Credit, channel, count), Vec::new()));
    prop_oneof![data, credit]
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
        kinds in prop::collection::vec(0_u8..22, 1..10),
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
        (tamed[2], tamed[3], tamed[4], tamed[6], tamed[7]) = (0, 0, bytes[4] % 22, 0, 0);
        for bytes in [bytes, tamed] {
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert_eq!(header.encode(), bytes);
            }
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
fn a_claimed_length_is_refused_before_anything_is_taken_for_it() {
    let pool = BufferPool::for_reading();
    let mut bytes = Header::bare(Kind::Data, 3, 1).encode();
    bytes[..4].copy_from_slice(&(ROWS_BYTES_MAX as u32 + 1).to_le_bytes());
    let (frames, error) = decode(&bytes, &[7], &pool);
    assert!(frames.is_empty());
    assert!(matches!(error, Some(FrameError::TooLong { channel: 3, .. })), "{error:?}");
    assert_eq!(pool.counters().taken, 0);
}
