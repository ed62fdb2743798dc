use std::fs;

use candle_core::DType;

use super::*;

/// A file with two tensors whose header went through `edit`.
fn written(edit: impl Fn(String) -> String) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let a = Tensor::new(&[[1.0_f32, -2.0], [0.5, 8.0]], &Device::Cpu).unwrap();
    let b = Tensor::new(&[7_u8, 8, 9, 10], &Device::Cpu).unwrap();
    let bytes = to_bytes(&BTreeMap::from([("a".into(), a), ("b".into(), b)])).unwrap();
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let header = edit(String::from_utf8(bytes[8..8 + length].to_vec()).unwrap());
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.extend(&bytes[8 + length..]);
    fs::write(&path, out).unwrap();
    (dir, path)
}

#[test]
fn what_was_written_is_read() {
    let (_dir, path) = written(|h| h);
    let file = Safetensors::open(&path).unwrap();
    assert_eq!(file.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(file.info("a"), Some((Dtype::F32, &[2, 2][..])));
    assert_eq!(file.load("a").unwrap().to_vec2::<f32>().unwrap(), [[1.0, -2.0], [0.5, 8.0]]);
    assert_eq!(file.load("b").unwrap().to_vec1::<u8>().unwrap(), [7, 8, 9, 10]);
    assert!(file.load("c").unwrap_err().to_string().contains("tensor `c`: is not in this file"));
}

#[test]
fn every_type_keeps_its_values() {
    let dir = tempfile::tempdir().unwrap();
    let whole = Tensor::arange(0_u32, 100, &Device::Cpu).unwrap();
    let types = [DType::U8, DType::U32, DType::I32, DType::I64, DType::F16, DType::BF16, DType::F32, DType::F64];
    let tensors = types.map(|dtype| (dtype.as_str().to_owned(), whole.to_dtype(dtype).unwrap()));
    let path = dir.path().join("t.safetensors");
    fs::write(&path, to_bytes(&BTreeMap::from(tensors)).unwrap()).unwrap();
    let file = Safetensors::open(&path).unwrap();
    for dtype in types {
        let tensor = file.load(dtype.as_str()).unwrap();
        assert_eq!(tensor.dtype(), dtype);
        assert_eq!(tensor.to_dtype(DType::U32).unwrap().to_vec1::<u32>().unwrap(), whole.to_vec1::<u32>().unwrap());
    }
}

#[test]
fn a_tensor_longer_than_the_buffer_is_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let long = Tensor::arange(0_u32, 700_001, &Device::Cpu).unwrap();
    let path = dir.path().join("t.safetensors");
    fs::write(&path, to_bytes(&BTreeMap::from([("long".into(), long.clone())])).unwrap()).unwrap();
    let found = Safetensors::open(&path).unwrap().load("long").unwrap();
    assert!(found.to_vec1::<u32>().unwrap() == long.to_vec1::<u32>().unwrap());
}

#[test]
fn torn_files_are_named() {
    let (_dir, path) = written(|h| h);
    let whole = fs::read(&path).unwrap();
    for (bytes, said) in [
        (
            whole[..whole.len() - 1].to_vec(),
            "tensor `b`: ends at byte 20 of the data, which has 19: the file is cut short",
        ),
        (whole[..whole.len() - 5].to_vec(), "tensor `a`: ends at byte 16 of the data, which has 15"),
        (whole[..40].to_vec(), "has 40 bytes, and a header that claims"),
        (whole[..3].to_vec(), "has only 3 bytes"),
        ([&whole[..], b"x"].concat(), "has 1 bytes after the last tensor"),
        (b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "git lfs pull"),
        (b"\x08\0\0\0\0\0\0\0notjson!".to_vec(), "the header is not JSON"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = Safetensors::open(&path).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("model.safetensors"), "{error}");
    }
}

#[test]
fn headers_that_lie_are_named() {
    for (from, to, said) in [
        ("[2,2]", "[2,3]", "tensor `a`: has 16 bytes, which is not [2, 3] of F32"),
        ("[2,2]", "[4294967296,4294967296,4]", "tensor `a`: has 16 bytes"),
        ("[0,16]", "[4,20]", "tensor `a`: lies at bytes 4 to 20 of the data, where 0 should come next"),
        ("[16,20]", "[12,16]", "tensor `b`: lies at bytes 12 to 16"),
        ("[16,20]", "[20,16]", "tensor `b`: lies at bytes 20 to 16"),
        ("\"U8\"", "\"Q4\"", "tensor `b`: the header's entry is wrong"),
    ] {
        let (_dir, path) = written(|h| {
            assert!(h.contains(from), "{h}");
            h.replacen(from, to, 1)
        });
        let error = Safetensors::open(&path).unwrap_err().to_string();
        assert!(error.contains(said), "{to}: {error}");
    }
}

#[test]
fn a_type_that_candle_lacks_is_named() {
    let (_dir, path) = written(|h| h.replace("\"U8\"", "\"I8\""));
    let error = Safetensors::open(&path).unwrap().load("b").unwrap_err().to_string();
    assert!(error.contains("tensor `b`: type I8 is not supported"), "{error}");
}
