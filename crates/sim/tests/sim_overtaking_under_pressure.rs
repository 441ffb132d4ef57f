//! See `millstream_sim::families::in_flight`.

#[test]
fn sim_overtaking_under_pressure() {
    millstream_sim::families::OVERTAKING_UNDER_PRESSURE.check(300);
}
