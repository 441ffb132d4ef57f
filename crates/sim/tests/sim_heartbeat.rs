//! See `millstream_sim::families::heartbeat`.

#[test]
fn sim_heartbeat() {
    millstream_sim::families::HEARTBEAT.check(2_000);
}
