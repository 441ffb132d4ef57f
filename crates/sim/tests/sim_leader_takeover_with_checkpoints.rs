//! See `millstream_sim::families::checkpoints`.

#[test]
fn sim_leader_takeover_with_checkpoints() {
    millstream_sim::families::LEADER_TAKEOVER.check(2_000);
}
