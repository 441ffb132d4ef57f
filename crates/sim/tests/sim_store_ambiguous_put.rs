//! See `millstream_sim::families::ha`.

#[test]
fn sim_store_ambiguous_put() {
    millstream_sim::families::AMBIGUOUS_PUT.check(2_000);
}
