//! See `millstream_sim::families::checkpoints`.

#[test]
fn sim_checkpoint_aligned() {
    millstream_sim::families::CHECKPOINT_ALIGNED.check(2_000);
}
