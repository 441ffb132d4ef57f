//! See `millstream_sim::families::slots_conserved`.

#[test]
fn sim_slots_conserved() {
    millstream_sim::families::SLOTS_CONSERVED.check(2_000);
}
