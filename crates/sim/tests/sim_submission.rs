//! See `millstream_sim::families::submission`.

#[test]
fn sim_submission() {
    millstream_sim::families::SUBMISSION.check(2_000);
}
