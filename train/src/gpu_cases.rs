//! Every kernel's cases, whole steps of training and texts: `tests/gpu.rs` runs them one by one, `just gpu-check` all of them from a program that can be
//! carried to another machine (`examples/gpu`), `just gpu-emulate` that program without a GPU.

use candle_core::{DType, Device, Tensor};

use crate::{
    error::Result,
    inference,
    kernels::{
        adamw, add, add_, attention, cast, columns, cross_entropy, dropout, geglu, gemm, gpu_check::Gpu, masked, nf4,
        noise, rms_norm, rope, row_dots, rows, scale, scale_rows, sum_squares, swiglu,
    },
    trainer,
};

/// What cases are called, and how they are run.
pub type Case = (&'static str, fn(&Gpu) -> Result<()>);

/// All of them.
pub const CASES: [Case; 27] = [
    ("gemm", gemm::gpu_check::gemm),
    ("rms_norm", rms_norm::gpu_check::rms_norm),
    ("rope", rope::gpu_check::rope),
    ("add", add::gpu_check::add),
    ("cast", cast::gpu_check::cast),
    ("columns", columns::gpu_check::columns),
    ("rows", rows::gpu_check::rows),
    ("row_dots", row_dots::gpu_check::dots),
    ("scale", scale::gpu_check::scale),
    ("scale_rows", scale_rows::gpu_check::scale_rows),
    ("swiglu", swiglu::gpu_check::swiglu),
    ("geglu", geglu::gpu_check::geglu),
    ("dropout", dropout::gpu_check::dropout),
    ("masked", masked::gpu_check::masked),
    ("noise", noise::gpu_check::noise),
    ("sum_squares", sum_squares::gpu_check::sum_squares),
    ("attention", attention::gpu_check::documents),
    ("attention_after_other_keys", attention::gpu_check::after_other_keys),
    ("attention_around_gaps", attention::gpu_check::around_gaps),
    ("attention_of_scores", attention::gpu_check::of_scores),
    ("cross_entropy", cross_entropy::gpu_check::cross_entropy),
    ("nf4", nf4::gpu_check::nf4),
    ("adamw", adamw::gpu_check::adamw),
    ("adamw_8bit", adamw::gpu_check::adamw_8bit),
    ("refusals", refusals),
    ("step", trainer::gpu_check::step),
    ("generation", inference::gpu_check::generation),
];

/// What every kernel refuses.
fn refusals(gpu: &Gpu) -> Result<()> {
    let x = gpu.filled(0.0, &[4, 8], DType::F32)?.1;
    let short = gpu.filled(0.0, &[4, 7], DType::F32)?.1;
    let rounded = gpu.filled(0.0, &[4, 8], DType::BF16)?.1;
    let turned = gpu.filled(0.0, &[8, 4], DType::F32)?.1.t()?;
    let elsewhere = Tensor::zeros((4, 8), DType::F32, &Device::Cpu)?;
    // A tensor cannot be locked for reading and writing at once, so that is refused too.
    let refused = [
        ("a short tensor", swiglu::swiglu(&x, &short).is_err()),
        ("another type", swiglu::swiglu(&x, &rounded).is_err()),
        ("a turned view", swiglu::swiglu(&x, &turned).is_err()),
        ("a tensor elsewhere", swiglu::swiglu(&x, &elsewhere).is_err()),
        ("its own output", add_(&x, &x, 1.0).is_err()),
    ];
    for (what, refused) in refused {
        gpu.same("refused", what, &[refused], &[true]);
    }
    Ok(())
}
