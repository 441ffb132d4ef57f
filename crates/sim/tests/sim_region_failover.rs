//! See `millstream_sim::families::region_failover`.

#[test]
fn sim_region_failover() {
    millstream_sim::families::REGION_FAILOVER.check(1_000);
}
