//! See `millstream_sim::families::registration`.

#[test]
fn sim_registration() {
    millstream_sim::families::REGISTRATION.check(2_000);
}
