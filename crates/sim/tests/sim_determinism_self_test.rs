//! I16: the same seed twice is the same run, event by event; another seed is another run.

use millstream_sim::families;
use millstream_sim::family::Keep;
use std::collections::BTreeSet;

/// Recording must not change what happens either, or no failure could be shown.
#[test]
fn sim_determinism_self_test() {
    for family in families::ALL {
        let mut hashes = BTreeSet::new();
        for seed in 0..40 {
            let first = family.run(seed, Keep::default());
            let record = Keep { record: true, print: false };
            let second = family.run(seed, record);
            let (first, second) = (first.expect("a good run"), second.expect("a good run"));
            assert_eq!(first, second, "{} seed {seed} ran differently", family.name);
            hashes.insert(first.hash);
        }
        assert_eq!(hashes.len(), 40, "{}: seeds that make no difference", family.name);
    }
}
