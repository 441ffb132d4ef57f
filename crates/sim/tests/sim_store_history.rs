//! See `millstream_sim::families::store_history`.

#[test]
fn sim_store_history() {
    millstream_sim::families::STORE_HISTORY.check(2_000);
}
