//! What the GPU spends its time on, by kernel.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use candle_core::cuda::{
    WrapErr,
    cudarc::driver::{CudaEvent, CudaStream, profiler_start, profiler_stop, sys::CUevent_flags},
};

use crate::error::Result;

type Candle<T> = candle_core::Result<T>;
type Marks = Vec<(String, CudaEvent, CudaEvent)>;

static MARKS: Mutex<Option<Marks>> = Mutex::new(None);

/// Time every launch of ours from here on.
pub fn start() {
    *MARKS.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
}

/// Stop, and say the seconds on the GPU and the launches since [`start`], by what was launched. Waits for the GPU. Two
/// marks around each launch: what the GPU idles between them counts.
pub fn stop() -> Result<BTreeMap<String, (f64, usize)>> {
    let marks = MARKS.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
    let mut all: BTreeMap<String, (f64, usize)> = BTreeMap::new();
    for (name, start, end) in marks {
        let (seconds, launches) = all.entry(name).or_default();
        *seconds += f64::from(start.elapsed_ms(&end).w()?) / 1e3;
        *launches += 1;
    }
    Ok(all)
}

/// Tell a profiler that watches from here on, or until here.
pub fn profile(on: bool) -> Result<()> {
    Ok(if on { profiler_start() } else { profiler_stop() }.w()?)
}

/// Mark the start of a launch, if somebody times them.
pub(super) fn record_start(stream: &CudaStream) -> Candle<Option<CudaEvent>> {
    let on = MARKS.lock().unwrap_or_else(PoisonError::into_inner).is_some();
    on.then(|| stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).w()).transpose()
}

/// Mark its end.
pub(super) fn record_end(name: &str, start: Option<CudaEvent>, stream: &CudaStream) -> Candle<()> {
    let Some(start) = start else { return Ok(()) };
    let end = stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).w()?;
    if let Some(marks) = &mut *MARKS.lock().unwrap_or_else(PoisonError::into_inner) {
        marks.push((name.to_owned(), start, end));
    }
    Ok(())
}
