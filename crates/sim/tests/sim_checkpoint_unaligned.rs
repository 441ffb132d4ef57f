//! See `millstream_sim::families::in_flight`.

#[test]
fn sim_checkpoint_unaligned() {
    millstream_sim::families::CHECKPOINT_UNALIGNED.check(1000);
}
