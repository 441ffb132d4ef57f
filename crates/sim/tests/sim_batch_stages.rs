//! See `millstream_sim::families::batch_stages`.

#[test]
fn sim_batch_stages() {
    millstream_sim::families::BATCH_STAGES.check(1_000);
}
