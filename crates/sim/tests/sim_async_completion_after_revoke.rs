//! See `millstream_sim::families::ha`.

#[test]
fn sim_async_completion_after_revoke() {
    millstream_sim::families::COMPLETION_AFTER_REVOKE.check(2_000);
}
