//! See `millstream_sim::families::crash_io`.

#[test]
fn sim_rescale() {
    millstream_sim::families::RESCALE.check(2_000);
}
