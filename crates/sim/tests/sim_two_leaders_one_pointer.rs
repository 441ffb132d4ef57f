//! See `millstream_sim::families::ha`.

#[test]
fn sim_two_leaders_one_pointer() {
    millstream_sim::families::TWO_LEADERS.check(2_000);
}
