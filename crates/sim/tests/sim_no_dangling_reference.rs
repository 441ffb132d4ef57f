//! See `millstream_sim::families::checkpoints`.

#[test]
fn sim_no_dangling_reference() {
    millstream_sim::families::NO_DANGLING_REFERENCE.check(2_000);
}
