//! What a job asks for, against what it has.
//!
//! A requirement is a profile and a count; a slot meets every requirement that asks for no more
//! than it has. Held slots are counted against the most demanding requirement first, the smallest
//! fitting slot first. That is a guess where profiles cannot be ordered (more memory against more
//! cores): then a job may be granted a slot more than it needs and returns it as idle.

use millstream_rpc::protocol::resource::{ResourceProfile, ResourceRequirement};
use std::collections::BTreeMap;

/// How many of each profile.
pub type ProfileCounts = BTreeMap<ResourceProfile, u64>;

/// Adds up requirements of the same profile; those of no slots vanish.
pub fn collect(requirements: &[ResourceRequirement]) -> ProfileCounts {
    let mut counts = ProfileCounts::new();
    for requirement in requirements.iter().filter(|r| r.count > 0) {
        let count: &mut u64 = counts.entry(requirement.profile).or_default();
        *count = count.saturating_add(u64::from(requirement.count));
    }
    counts
}

/// The counts as a message carries them.
pub fn to_message(counts: &ProfileCounts) -> Vec<ResourceRequirement> {
    let requirement = |(profile, count): (&ResourceProfile, &u64)| ResourceRequirement {
        profile: *profile,
        count: u32::try_from(*count).unwrap_or(u32::MAX),
    };
    counts.iter().map(requirement).collect()
}

/// All slots in the counts.
pub fn total(counts: &ProfileCounts) -> u64 {
    counts.values().fold(0, |sum, count| sum.saturating_add(*count))
}

/// What is required and not held, most demanding first.
pub fn unmet(required: &ProfileCounts, mut held: ProfileCounts) -> Vec<(ResourceProfile, u64)> {
    let mut unmet = Vec::new();
    for (profile, count) in required.iter().rev() {
        let missing = count - take(&mut held, profile, *count);
        if missing > 0 {
            unmet.push((*profile, missing));
        }
    }
    unmet
}

/// Takes up to `count` slots that meet the profile out of `held`; how many there were.
fn take(held: &mut ProfileCounts, profile: &ResourceProfile, count: u64) -> u64 {
    let mut taken = 0;
    for (_, available) in held.iter_mut().filter(|(slot, _)| slot.meets(profile)) {
        let step = (*available).min(count - taken);
        *available -= step;
        taken += step;
    }
    taken
}
