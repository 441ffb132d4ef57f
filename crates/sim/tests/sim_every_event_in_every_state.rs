//! See `millstream_sim::families::every_event`.

#[test]
fn sim_every_event_in_every_state() {
    millstream_sim::families::EVERY_EVENT.check(2_000);
}
