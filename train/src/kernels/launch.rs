//! How a kernel is started. Every tensor is held against the type and the number of elements that the kernel will
//! read or write before its address is taken.

#![allow(unsafe_code, reason = "kernels get addresses; what they may touch is checked here")]

use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, DType, Device, InplaceOp1, Layout, Shape, Storage, Tensor, bail,
    cuda::{
        CudaDType, S, WrapErr,
        cudarc::{
            driver::{
                CudaFunction, CudaModule, CudaStream, DevicePtr, DevicePtrMut, DeviceRepr, LaunchConfig, PushKernelArg,
                SyncOnDrop,
                result::{memcpy_dtod_async, memset_d8_async},
                sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
            },
            nvrtc::Ptx,
        },
    },
};

use super::launch_timer;

type Candle<T> = candle_core::Result<T>;

/// Threads of a block, unless a kernel says otherwise.
pub const THREADS: u32 = 256;
/// More shared memory than this has to be asked for.
const SHARED: u32 = 48 << 10;

/// A file of kernels: what build.rs made of it.
pub struct Module(pub &'static [u8]);

/// NAME.cu beside the caller.
macro_rules! module {
    ($name:literal) => {
        Module(include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".fatbin")))
    };
}
pub(super) use module;

/// What a context has loaded. A function holds its module and its context, so neither goes while it is here.
#[derive(Default)]
struct Loaded {
    /// By the address of what they were made of.
    modules: HashMap<usize, Arc<CudaModule>>,
    /// By their names, which are all different.
    functions: HashMap<String, CudaFunction>,
}

/// By the address of the context: the driver is asked for each kernel once.
static LOADED: LazyLock<Mutex<HashMap<usize, Loaded>>> = LazyLock::new(Mutex::default);

fn function(device: &CudaDevice, module: &Module, name: &str) -> Candle<CudaFunction> {
    let (stream, mut all) = (device.cuda_stream(), LOADED.lock().unwrap_or_else(PoisonError::into_inner));
    let context = stream.context();
    let Loaded { modules, functions } = all.entry(context.cu_ctx() as usize).or_default();
    if let Some(function) = functions.get(name) {
        return Ok(function.clone());
    }
    let module = match modules.entry(module.0.as_ptr() as usize) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(place) => place.insert(context.load_module(Ptx::from_binary(module.0.to_vec())).w()?),
    };
    let function = module.load_function(name).w()?;
    functions.insert(name.to_owned(), function.clone());
    Ok(function)
}

/// An argument that is not a tensor.
#[derive(Clone, Copy)]
pub enum Scalar {
    F32(f32),
    I32(i32),
    I64(i64),
    U32(u32),
    U64(u64),
}

/// How a type is called in the name of a kernel.
pub fn suffix(dtype: DType) -> Candle<&'static str> {
    match dtype {
        DType::F32 => Ok("f32"),
        DType::BF16 => Ok("bf16"),
        other => bail!("CUDA kernels compute on f32 or bf16, not {other:?}"),
    }
}

/// A size as kernels take it.
pub fn i32_of(size: usize) -> Candle<i32> {
    i32::try_from(size).map_err(|_| candle_core::Error::Msg(format!("a size of {size} is too large for a GPU kernel")))
}

/// A number of elements as kernels take it.
#[allow(clippy::cast_possible_wrap, reason = "no memory holds 2^63 elements")]
pub fn i64_of(size: usize) -> i64 {
    size as i64
}

/// Nearest f32.
#[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
pub fn f32_of(x: f64) -> f32 {
    x as f32
}

/// Blocks for `n` threads whose kernel goes on until all are done.
pub fn blocks(n: usize) -> u32 {
    const MOST: u32 = 1 << 14;
    u32::try_from(n.div_ceil(THREADS as usize)).unwrap_or(MOST).min(MOST)
}

/// Blocks for the pieces of `n` elements (common.cuh), eight a thread.
pub fn pieces(n: usize) -> u32 {
    blocks(n.div_ceil(8))
}

static POISON: AtomicBool = AtomicBool::new(false);

/// From here on results hold NaNs until their kernel writes them, so that a check sees what it left out.
pub fn poison_results() {
    POISON.store(true, Ordering::Relaxed);
}

/// A tensor for a kernel to write all of: until then it holds whatever was there before.
///
/// # Errors
/// Out of memory.
pub fn empty(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Candle<Tensor> {
    // SAFETY: callers hand it to one kernel that writes every element, and to nobody if that fails.
    let tensor = unsafe { Tensor::empty(shape, dtype, device) }?;
    if POISON.load(Ordering::Relaxed) && tensor.elem_count() > 0 {
        fill(&tensor, 0xff)?;
    }
    Ok(tensor)
}

/// Every byte of a tensor: zeros make a 0, and all bits set a NaN or the largest integer.
pub fn fill(tensor: &Tensor, byte: u8) -> Candle<()> {
    if tensor.layout().contiguous_offsets().is_none() {
        bail!("fill: was given a view that is not contiguous");
    }
    with_addresses("fill", &[tensor], &[], |device, at| {
        let bytes = tensor.elem_count() * tensor.dtype().size_in_bytes();
        // SAFETY: the tensor is in one piece and has this many bytes.
        unsafe { memset_d8_async(at[0], byte, bytes, device.cuda_stream().cu_stream()) }.w()
    })
}

/// What `from` holds into `to`, of the same shape and type. The driver copies: that is no kernel.
pub fn copy(to: &Tensor, from: &Tensor) -> Candle<()> {
    if to.shape() != from.shape() || to.dtype() != from.dtype() {
        bail!("copy: {:?} {:?} into {:?} {:?}", from.dtype(), from.shape(), to.dtype(), to.shape());
    }
    if [to, from].iter().any(|t| t.layout().contiguous_offsets().is_none()) {
        bail!("copy: was given a view that is not contiguous");
    }
    with_addresses("copy", &[to], &[from], |device, at| {
        let bytes = to.elem_count() * to.dtype().size_in_bytes();
        // SAFETY: both are in one piece, have this many bytes, and are not of one allocation.
        unsafe { memcpy_dtod_async(at[0], at[1], bytes, device.cuda_stream().cu_stream()) }.w()
    })
}

/// A kernel and what it will be given: tensors to write, tensors to read, values, in this order.
pub struct Launch<'a> {
    module: &'static Module,
    name: String,
    writes: Vec<&'a Tensor>,
    reads: Vec<&'a Tensor>,
    values: Vec<Scalar>,
}

impl<'a> Launch<'a> {
    pub fn new(module: &'static Module, name: impl Into<String>) -> Self {
        Self { module, name: name.into(), writes: Vec::new(), reads: Vec::new(), values: Vec::new() }
    }

    fn check(&self, tensor: &Tensor, dtype: DType, count: usize) -> Candle<()> {
        if tensor.elem_count() != count || tensor.dtype() != dtype {
            bail!("{}: {:?} {:?} where {count} of {dtype:?} are needed", self.name, tensor.dtype(), tensor.shape());
        }
        if tensor.layout().contiguous_offsets().is_none() {
            bail!("{}: was given a view that is not contiguous", self.name);
        }
        Ok(())
    }

    /// A tensor of `count` elements that the kernel changes.
    pub fn write(mut self, tensor: &'a Tensor, dtype: DType, count: usize) -> Candle<Self> {
        self.check(tensor, dtype, count)?;
        self.writes.push(tensor);
        Ok(self)
    }

    /// A tensor of `count` elements that the kernel reads.
    pub fn read(mut self, tensor: &'a Tensor, dtype: DType, count: usize) -> Candle<Self> {
        self.check(tensor, dtype, count)?;
        self.reads.push(tensor);
        Ok(self)
    }

    pub fn values(mut self, values: &[Scalar]) -> Self {
        self.values.extend(values);
        self
    }

    /// Start the kernel. Nothing happens for a grid of no blocks.
    ///
    /// # Safety
    /// The kernel of that name takes these arguments and touches no more of each tensor than was checked.
    pub unsafe fn run(self, (x, y): (u32, u32), threads: u32, shared: u32) -> Candle<()> {
        if x == 0 || y == 0 {
            return Ok(());
        }
        with_addresses(&self.name, &self.writes, &self.reads, |device, addresses| {
            let function = function(device, self.module, &self.name)?;
            if shared > SHARED {
                let size = i32_of(shared as usize)?;
                function.set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, size).w()?;
            }
            let stream = device.cuda_stream();
            let mut arguments = stream.launch_builder(&function);
            for address in addresses {
                arguments.arg(address);
            }
            for value in &self.values {
                match value {
                    Scalar::F32(v) => arguments.arg(v),
                    Scalar::I32(v) => arguments.arg(v),
                    Scalar::I64(v) => arguments.arg(v),
                    Scalar::U32(v) => arguments.arg(v),
                    Scalar::U64(v) => arguments.arg(v),
                };
            }
            let config = LaunchConfig { grid_dim: (x, y, 1), block_dim: (threads, 1, 1), shared_mem_bytes: shared };
            // SAFETY: the caller's promise, above.
            unsafe { arguments.launch(config) }.w()?;
            Ok(())
        })
    }
}

/// Lock tensors for writing and reading and give `f` their addresses, in this order. No tensor may be read and written
/// at once.
pub fn with_addresses(
    name: &str,
    writes: &[&Tensor],
    reads: &[&Tensor],
    f: impl FnOnce(&CudaDevice, &[u64]) -> Candle<()>,
) -> Candle<()> {
    let Some(Device::Cuda(device)) = writes.first().map(|t| t.device()) else {
        bail!("{name}: the result is not on a CUDA device")
    };
    for (i, write) in writes.iter().enumerate() {
        // A second lock would wait for ever.
        if writes[i + 1..].iter().chain(reads).any(|t| allocation(t) == allocation(write)) {
            bail!("{name}: would write a tensor that it also uses otherwise");
        }
    }
    if let Some(other) = writes.iter().chain(reads).find(|t| !t.device().same_device(writes[0].device())) {
        bail!("{name}: tensors on {:?} and {:?}", writes[0].device().location(), other.device().location());
    }
    let stream = device.cuda_stream();
    let held: Vec<_> = reads.iter().map(|t| t.storage_and_layout()).collect();
    // Dropped after the launch, which is when the reads are recorded.
    let (mut read_at, mut guards) = (Vec::new(), Vec::new());
    for (storage, layout) in &held {
        let Storage::Cuda(storage) = &**storage else { bail!("{name}: a tensor of another device") };
        let (address, guard) = address(storage, &stream)?;
        read_at.push(address + offset(storage, layout));
        guards.push(guard);
    }
    let mut f = Some(f);
    lock_writes(writes, &stream, &mut Vec::new(), &mut |written| {
        let addresses: Vec<u64> = written.iter().chain(&read_at).copied().collect();
        let start = launch_timer::record_start(&stream)?;
        f.take().map_or(Ok(()), |f| f(device, &addresses))?;
        launch_timer::record_end(name, start, &stream)
    })
}

/// All elements of a tensor, in order, when the GPU has made them.
pub fn to_host<T: CudaDType + DeviceRepr + Default + Copy>(tensor: &Tensor) -> Candle<Vec<T>> {
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cuda(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
        bail!("a result that is not on a GPU in one piece")
    };
    let mut host = vec![T::default(); end - start];
    if !host.is_empty() {
        let stream = storage.device.cuda_stream();
        stream.memcpy_dtoh(&storage.as_cuda_slice::<T>()?.slice(start..end), &mut host).w()?;
        // A copy into memory that is not pinned may still be on its way when the call returns.
        stream.synchronize().w()?;
    }
    Ok(host)
}

/// What tells allocations apart.
fn allocation(tensor: &Tensor) -> *const Storage {
    let (storage, _) = tensor.storage_and_layout();
    std::ptr::from_ref(&*storage)
}

fn offset(storage: &CudaStorage, layout: &Layout) -> u64 {
    use candle_core::backend::BackendStorage;
    (layout.start_offset() * storage.dtype().size_in_bytes()) as u64
}

type Then<'a> = dyn FnMut(&[u64]) -> Candle<()> + 'a;
type Write<'a> = dyn FnMut(&mut CudaStorage, &Layout) -> Candle<()> + 'a;

/// candle lends a storage for writing to an operation only, so several are nested.
fn lock_writes(writes: &[&Tensor], stream: &CudaStream, at: &mut Vec<u64>, then: &mut Then) -> Candle<()> {
    let Some((first, rest)) = writes.split_first() else { return then(at) };
    let mut write = |storage: &mut CudaStorage, layout: &Layout| {
        let offset = offset(storage, layout);
        let (address, _guard) = address_mut(storage, stream)?;
        at.push(address + offset);
        lock_writes(rest, stream, at, then)
    };
    first.inplace_op1(&WithStorage(RefCell::new(&mut write)))
}

struct WithStorage<'a, 'b>(RefCell<&'a mut Write<'b>>);

impl InplaceOp1 for WithStorage<'_, '_> {
    fn name(&self) -> &'static str {
        "setaccio kernel"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> Candle<()> {
        bail!("a CUDA kernel was given a tensor in main memory")
    }

    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> Candle<()> {
        (self.0.borrow_mut())(storage, layout)
    }
}

fn address<'a>(storage: &'a CudaStorage, stream: &'a CudaStream) -> Candle<(u64, SyncOnDrop<'a>)> {
    Ok(match &storage.slice {
        S::F32(s) => s.device_ptr(stream),
        S::BF16(s) => s.device_ptr(stream),
        S::F64(s) => s.device_ptr(stream),
        S::U32(s) => s.device_ptr(stream),
        S::U8(s) => s.device_ptr(stream),
        _ => bail!("no kernel reads this type"),
    })
}

fn address_mut<'a>(storage: &'a mut CudaStorage, stream: &'a CudaStream) -> Candle<(u64, SyncOnDrop<'a>)> {
    Ok(match &mut storage.slice {
        S::F32(s) => s.device_ptr_mut(stream),
        S::BF16(s) => s.device_ptr_mut(stream),
        S::F64(s) => s.device_ptr_mut(stream),
        S::U8(s) => s.device_ptr_mut(stream),
        _ => bail!("no kernel writes this type"),
    })
}
