//! How much a decoder may take: memory in proportion to its input, and less than a second.

use crate::Target;
use crate::counting::bytes_counted;
use rustix::time::{ClockId, clock_gettime};

/// A decoder may take so much whatever it is given: buffers, an explanation.
const BYTES_FREE: usize = 64 << 10;

/// Memory per byte of input, of formats whose values are about as large as their bytes.
pub(crate) const PLAIN: usize = 16;

/// Memory per byte of input, of formats with values that are much larger in memory than as bytes: an
/// empty text is one byte and becomes 24, and half of a list that grows is empty.
pub(crate) const TYPED: usize = 64;

/// Calls a decoder with an input of so many bytes; it must not take more than `per_byte` for each.
pub(crate) fn within<R>(input: usize, per_byte: usize, decode: impl FnOnce() -> R) -> R {
    let (result, taken) = bytes_counted(decode);
    let most = BYTES_FREE + input * per_byte;
    assert!(taken <= most, "{taken} bytes were taken for {input}, {most} may be");
    result
}

/// Runs a target; whether the bytes were understood. Time is that of the thread, so that a machine
/// with much to do is no failure.
pub fn check(target: &Target, bytes: &[u8]) -> bool {
    let start = thread_millis();
    let understood = (target.run)(bytes);
    let taken = thread_millis() - start;
    assert!(taken < 1000, "{}: {} bytes took {taken} ms", target.name, bytes.len());
    understood
}

fn thread_millis() -> i64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}
