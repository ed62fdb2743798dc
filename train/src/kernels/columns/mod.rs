//! Columns of a matrix: taken out of it, and put into it.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

use candle_core::Tensor;

use crate::error::{Error, Result};

/// The `width` columns of `x` [T, W] from column `start` on, [T, width].
///
/// # Errors
/// `x` has fewer; out of memory.
pub fn take_columns(x: &Tensor, start: usize, width: usize) -> Result<Tensor> {
    fits(x, start, width)?;
    by_device!(x, take_columns(x, start, width))
}

/// Put `part` [T, width] in the place of the columns of `x` [T, W] from column `start` on.
///
/// # Errors
/// `x` has fewer columns, or another number of rows or another type.
pub fn put_columns_(x: &Tensor, start: usize, part: &Tensor) -> Result<()> {
    fits(x, start, part.dim(1)?)?;
    if x.dim(0)? != part.dim(0)? || x.dtype() != part.dtype() {
        let (own, other) = ((x.dtype(), x.shape()), (part.dtype(), part.shape()));
        return Err(Error::Other(format!("columns: {own:?} beside {other:?}")));
    }
    by_device!(x, put_columns_(x, start, part))
}

fn fits(x: &Tensor, start: usize, width: usize) -> Result<()> {
    let all = x.dims2()?.1;
    if start + width <= all {
        return Ok(());
    }
    Err(Error::Other(format!("columns: {width} from column {start} on of {all}")))
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "exact on purpose")]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn columns_go_and_come_back() {
        let x = Tensor::new(&[[1_f32, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]], &Device::Cpu).unwrap();
        let rows = |t: &Tensor| t.to_vec2::<f32>().unwrap();
        let middle = take_columns(&x, 1, 2).unwrap();
        assert!(middle.is_contiguous());
        assert_eq!(rows(&middle), [[2.0, 3.0], [6.0, 7.0]]);
        put_columns_(&x, 2, &middle).unwrap();
        assert_eq!(rows(&x), [[1.0, 2.0, 2.0, 3.0], [5.0, 6.0, 6.0, 7.0]]);
        put_columns_(&x, 0, &take_columns(&x, 3, 1).unwrap()).unwrap();
        assert_eq!(rows(&x), [[3.0, 2.0, 2.0, 3.0], [7.0, 6.0, 6.0, 7.0]]);
    }

    #[test]
    fn other_sizes_and_types_are_refused() {
        let of = |rows: usize, width: usize| Tensor::zeros((rows, width), DType::F32, &Device::Cpu).unwrap();
        let error = take_columns(&of(2, 4), 3, 2).unwrap_err().to_string();
        assert_eq!(error, "columns: 2 from column 3 on of 4");
        assert!(put_columns_(&of(2, 4), 0, &of(3, 4)).unwrap_err().to_string().contains("[2, 4]"));
        assert!(put_columns_(&of(2, 4), 0, &of(2, 4).to_dtype(DType::BF16).unwrap()).is_err());
    }
}
