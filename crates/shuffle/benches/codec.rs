//! What rows cost: encoding and decoding of a full batch, per record, and how that compares with a
//! plain copy of the same bytes (ratio 1: as fast as the copy).
//!
//! `cargo bench -p millstream-shuffle --bench codec`

use millstream_core::{Record, Str};
use millstream_shuffle::batch::{AnyBatch, Batch};
use std::hint::black_box;
use std::time::Instant;

/// 100 bytes in fields.
#[derive(Clone, Record)]
struct Fields {
    w0: u64,
    w1: u64,
    w2: u64,
    w3: u64,
    w4: u64,
    w5: u64,
    w6: u64,
    w7: u64,
    w8: u64,
    w9: u64,
    w10: u64,
    w11: u64,
    tail: u32,
}

/// 100 bytes in an array of words.
#[derive(Clone, Record)]
struct Words {
    words: [u64; 12],
    tail: u32,
}

/// 100 bytes in an array of bytes.
#[derive(Clone, Record)]
struct Bytes {
    bytes: [u8; 92],
    tail: u64,
}

const ROUNDS: usize = 20_000;
const REPEATS: usize = 5;

fn main() {
    let fields = |n| Fields {
        w0: n,
        w1: n,
        w2: n,
        w3: n,
        w4: n,
        w5: n,
        w6: n,
        w7: n,
        w8: n,
        w9: n,
        w10: n,
        w11: n,
        tail: 1,
    };
    for hashed in [false, true] {
        measure("13 fields, 100 bytes", hashed, fields);
        measure("[u64; 12] and u32", hashed, |n| Words { words: [n; 12], tail: 1 });
        measure("[u8; 92] and u64", hashed, |n| Bytes { bytes: [n as u8; 92], tail: 1 });
        measure("u64", hashed, |n| n);
        measure("u64 and String of 60", hashed, |n| (n, "x".repeat(60)));
        measure("u64 and short Str", hashed, |n| (n, Str::new("hello")));
    }
}

fn measure<T: Record>(name: &str, hashed: bool, make: impl Fn(u64) -> T) {
    let count = Batch::<T>::target().min(315);
    let items: Vec<T> = (0..count as u64).map(make).collect();
    let hashes = if hashed { (0..count as u64).collect() } else { Vec::new() };
    let batch = Batch { hashes, ..Batch::of(items) };
    let columns = batch.columns();
    let (mut rows, mut copy, mut plain) = (Vec::new(), Batch::<T>::new(), Vec::new());
    let encode = best(count, || {
        rows.clear();
        let mut next = 0;
        while next < count {
            next = black_box(&batch).encode(next, 1 << 20, &mut rows);
        }
    });
    let decode = best(count, || {
        copy.clear();
        copy.decode(count, columns, black_box(&rows)).expect("as written");
    });
    let memcpy = best(count, || {
        plain.clear();
        plain.extend_from_slice(black_box(&rows));
        black_box(&plain);
    });
    let kind = if hashed { "hashed" } else { "" };
    println!(
        "{name:22}{kind:8} encode {encode:6.2} ns (ratio {:.2}), decode {decode:6.2} ns (ratio {:.2})",
        memcpy / encode,
        memcpy / decode,
    );
}

/// Nanoseconds per record, the best of several runs.
fn best(records: usize, mut run: impl FnMut()) -> f64 {
    let once = |run: &mut dyn FnMut()| {
        let began = Instant::now();
        (0..ROUNDS).for_each(|_| run());
        began.elapsed().as_secs_f64() * 1e9 / (ROUNDS * records) as f64
    };
    (0..REPEATS).map(|_| once(&mut run)).fold(f64::MAX, f64::min)
}
