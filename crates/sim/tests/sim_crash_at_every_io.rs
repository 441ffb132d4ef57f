//! See `millstream_sim::families::crash_io`.

#[test]
fn sim_crash_at_every_io() {
    millstream_sim::families::CRASH_AT_EVERY_IO.check(2_000);
}
