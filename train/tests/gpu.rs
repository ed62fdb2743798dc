//! Every kernel on a GPU beside its reference on the CPU, case by case; `just gpu-check` runs the same and shows a table,
//! `just gpu-emulate` runs it without a GPU.
#![cfg(feature = "cuda")]

use setaccio_train::{gpu_cases::CASES, kernels::gpu_check::Gpu};

fn check(name: &str) {
    let gpu = Gpu::open(5).unwrap();
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
        #[ignore = "needs a GPU: just gpu-check"]
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
    gemm,
    rms_norm,
    rope,
    add,
    cast,
    columns,
    rows,
    row_dots,
    scale,
    scale_rows,
    swiglu,
    geglu,
    dropout,
    masked,
    noise,
    sum_squares,
    attention,
    attention_after_other_keys,
    attention_around_gaps,
    attention_of_scores,
    cross_entropy,
    nf4,
    adamw,
    adamw_8bit,
    refusals,
    step,
    generation
);
