//! Products of rows beside sums in f64.

use super::row_dots;
use crate::{
    error::Result,
    kernels::gpu_check::{Gpu, TYPES, values},
};

pub fn dots(gpu: &Gpu) -> Result<()> {
    for dtype in TYPES {
        for (t, width) in [(1, 64), (7, 577), (300, 1536)] {
            let [a, b] = ["a", "b"].map(|name| gpu.random(name, &[t, width], 1.0, dtype));
            let (a, b) = (a?, b?);
            let got = row_dots(&a.1, &b.1)?;
            let (x, y) = (values(&a.0)?, values(&b.0)?);
            let each = x.chunks(width).zip(y.chunks(width));
            let want = each.map(|(x, y)| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>());
            let worst = got.iter().zip(want).map(|(got, want)| (got - want).abs()).fold(0.0, f64::max);
            gpu.say(&format!("row_dots {}", dtype.as_str()), &format!("{t}x{width}"), worst, 1e-4);
            gpu.same("row_dots twice", &format!("{t}x{width}"), &got, &row_dots(&a.1, &b.1)?);
        }
    }
    Ok(())
}
