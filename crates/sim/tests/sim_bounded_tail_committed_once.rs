//! See `millstream_sim::families::checkpoints`.

#[test]
fn sim_bounded_tail_committed_once() {
    millstream_sim::families::BOUNDED_TAIL.check(2_000);
}
