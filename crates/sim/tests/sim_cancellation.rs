//! See `millstream_sim::families::cancellation`.

#[test]
fn sim_cancellation() {
    millstream_sim::families::CANCELLATION.check(2_000);
}
