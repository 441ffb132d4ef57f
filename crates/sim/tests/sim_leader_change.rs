//! See `millstream_sim::families::ha`.

#[test]
fn sim_leader_change() {
    millstream_sim::families::LEADER_CHANGE.check(2_000);
}
