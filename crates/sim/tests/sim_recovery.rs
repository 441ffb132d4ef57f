//! See `millstream_sim::families::checkpoints`.

#[test]
fn sim_recovery() {
    millstream_sim::families::RECOVERY.check(2_000);
}
