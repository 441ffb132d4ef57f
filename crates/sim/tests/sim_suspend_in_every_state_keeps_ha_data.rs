//! See `millstream_sim::families::ha`.

#[test]
fn sim_suspend_in_every_state_keeps_ha_data() {
    millstream_sim::families::SUSPEND_ANYWHERE.check(2_000);
}
