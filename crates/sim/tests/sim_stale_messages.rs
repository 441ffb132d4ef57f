//! See `millstream_sim::families::stale_messages`.

#[test]
fn sim_stale_messages() {
    millstream_sim::families::STALE_MESSAGES.check(2_000);
}
