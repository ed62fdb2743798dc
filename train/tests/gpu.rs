//! The cases of `cases/` one by one. On a machine without a GPU each says so and passes; `just gpu-check` runs the same
//! and fails there.
#![cfg(feature = "cuda")]

mod cases;

use cases::{CASES, Gpu};

fn check(name: &str) {
    let gpu = match Gpu::open(5) {
        Ok(gpu) => gpu,
        Err(error) => return println!("skipped: no GPU ({error})"),
    };
    let (_, case) = CASES.iter().find(|(n, _)| *n == name).unwrap();
    let found = gpu.run(*case).unwrap();
    assert!(!found.is_empty(), "{name} compares nothing");
    let missed: Vec<_> = found.iter().filter(|line| !line.passed()).collect();
    for line in &missed {
        println!("{} {}: {:e}, and {:e} is allowed", line.kernel, line.shape, line.error, line.allowed);
    }
    assert!(missed.is_empty(), "{} of {} missed", missed.len(), found.len());
}

macro_rules! each {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        #[test]
        fn every_case_is_a_test() {
            assert_eq!(CASES.map(|(name, _)| name), [$(stringify!($name)),*]);
        }
    };
}
each!(
    products,
    norms,
    rotation,
    elements,
    masks_and_noise,
    sums_of_squares,
    attention,
    attention_after_other_keys,
    attention_around_gaps,
    cross_entropy,
    nf4,
    adamw,
    adamw_8bit,
    refusals
);
