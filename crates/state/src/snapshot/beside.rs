//! Rows are encoded by a thread of their own, beside the one that writes them: what one of them spends on
//! memory and the other one on checksums and the storage takes place at the same time.

use millstream_checkpoint::snapshot::{RowSink, SnapshotError};
use millstream_core::key_group::KeyGroup;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// So many pieces of about 64 KiB are ready at most.
const READY: usize = 32;

/// What goes to the sink in one call.
struct Piece {
    group: KeyGroup,
    count: u32,
    /// Rows, or, if they are gone, keys.
    bytes: Vec<u8>,
    are_gone: bool,
}

/// Has `encode` run by a thread of its own, and gives all that it writes to `out`.
pub(super) fn beside(
    encode: impl FnOnce(&mut dyn RowSink) -> Result<(), SnapshotError> + Send,
    out: &mut dyn RowSink,
) -> Result<(), SnapshotError> {
    let (give, take) = sync_channel(READY);
    let (give_back, back) = sync_channel(READY);
    thread::scope(|scope| {
        let encoder = thread::Builder::new().name("state-encoder".to_owned());
        let encoder = encoder.spawn_scoped(scope, move || encode(&mut Handover { give, back }));
        let encoder = encoder.map_err(|error| {
            SnapshotError::Operator(format!("could not start a thread that encodes rows: {error}"))
        })?;
        // The sink's error is the reason; the encoder only learns that nobody listens.
        pass_on(take, &give_back, out)?;
        encoder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn pass_on(
    take: Receiver<Piece>,
    give_back: &SyncSender<Vec<u8>>,
    out: &mut dyn RowSink,
) -> Result<(), SnapshotError> {
    for Piece { group, count, bytes, are_gone } in take {
        match are_gone {
            true => out.removed(group, count, &bytes)?,
            false => out.rows(group, count, &bytes)?,
        }
        // The memory serves again, if it is needed.
        let _ = give_back.try_send(bytes);
    }
    Ok(())
}

/// The sink of the encoding thread.
struct Handover {
    give: SyncSender<Piece>,
    back: Receiver<Vec<u8>>,
}

impl Handover {
    fn give(
        &self,
        group: KeyGroup,
        count: u32,
        piece: &[u8],
        are_gone: bool,
    ) -> Result<(), SnapshotError> {
        let mut bytes = self.back.try_recv().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(piece);
        self.give
            .send(Piece { group, count, bytes, are_gone })
            .map_err(|_| SnapshotError::Operator("nobody takes the rows any more".to_owned()))
    }
}

impl RowSink for Handover {
    fn rows(&mut self, group: KeyGroup, count: u32, rows: &[u8]) -> Result<(), SnapshotError> {
        self.give(group, count, rows, false)
    }

    fn removed(&mut self, group: KeyGroup, count: u32, keys: &[u8]) -> Result<(), SnapshotError> {
        self.give(group, count, keys, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps what it is given, up to a number of calls.
    struct Keeps {
        pieces: Vec<(u32, u32, Vec<u8>, bool)>,
        most: usize,
    }

    impl Keeps {
        fn keep(
            &mut self,
            group: KeyGroup,
            count: u32,
            bytes: &[u8],
            are_gone: bool,
        ) -> Result<(), SnapshotError> {
            if self.pieces.len() == self.most {
                return Err(SnapshotError::Operator("full".to_owned()));
            }
            self.pieces.push((group.index(), count, bytes.to_vec(), are_gone));
            Ok(())
        }
    }

    impl RowSink for Keeps {
        fn rows(&mut self, group: KeyGroup, count: u32, rows: &[u8]) -> Result<(), SnapshotError> {
            self.keep(group, count, rows, false)
        }

        fn removed(
            &mut self,
            group: KeyGroup,
            count: u32,
            keys: &[u8],
        ) -> Result<(), SnapshotError> {
            self.keep(group, count, keys, true)
        }
    }

    fn encode(out: &mut dyn RowSink) -> Result<(), SnapshotError> {
        for i in 0..1_000_u32 {
            let group = KeyGroup::new(i / 10).expect("a group");
            let bytes = vec![i as u8; i as usize];
            if i % 10 == 0 { out.removed(group, i, &bytes) } else { out.rows(group, i, &bytes) }?;
        }
        Ok(())
    }

    #[test]
    fn the_sink_gets_what_it_would_have_got_without_a_thread() {
        let (mut expected, mut found) =
            [(); 2].map(|()| Keeps { pieces: Vec::new(), most: 2_000 }).into();
        encode(&mut expected).expect("kept");
        beside(encode, &mut found).expect("kept");
        assert_eq!(found.pieces, expected.pieces);
    }

    #[test]
    fn the_error_of_the_sink_is_told_and_so_is_that_of_the_encoder() {
        let mut full = Keeps { pieces: Vec::new(), most: 7 };
        let told = beside(encode, &mut full).expect_err("it is full");
        assert_eq!((told.to_string().as_str(), full.pieces.len()), ("full", 7));
        let broken = |_: &mut dyn RowSink| Err(SnapshotError::Operator("broken".to_owned()));
        let mut sink = Keeps { pieces: Vec::new(), most: 7 };
        assert_eq!(beside(broken, &mut sink).expect_err("broken").to_string(), "broken");
    }
}
