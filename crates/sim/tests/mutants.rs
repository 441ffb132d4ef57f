//! Every planted bug is found by its family within 500 seeds. A protection whose loss nobody
//! notices is not tested.

use millstream_core::mutant;
use millstream_sim::mutants::{REGISTRY, unregistered};
use std::time::Instant;

const SEEDS_MAX: u64 = 500;

#[test]
fn every_mutant_is_caught_within_500_seeds() {
    let mut missed = Vec::new();
    // `SIM_MUTANT=name` looks for that one alone, or for all with that in their family's name.
    let only = std::env::var("SIM_MUTANT").unwrap_or_default();
    let wanted = |name: &str, family: &str| name.contains(&only) || family.contains(&only);
    for (name, family) in REGISTRY {
        if !wanted(name, family.name) {
            continue;
        }
        let started = Instant::now();
        mutant::set(Some(name));
        let (caught, ..) = family.search(0..SEEDS_MAX);
        mutant::set(None);
        let seconds = started.elapsed().as_secs_f64();
        let how = match caught {
            Some(seed) => format!("seed {seed}"),
            None => "NOT CAUGHT".to_owned(),
        };
        eprintln!("{:<42} {:<22} {how:<12} {seconds:.2} s", name, family.name);
        if caught.is_none() {
            missed.push(*name);
        }
    }
    assert!(missed.is_empty(), "nobody notices {missed:?}");
}

#[test]
fn every_mutant_has_a_family() {
    assert_eq!(unregistered(), Vec::<&str>::new());
    assert!(REGISTRY.len() >= 12);
}
