//! Hashing what passes through: files as they are read, shards as they are written.

use std::io::{self, Read, Write};

use setaccio_filters::hash::hex;
use sha2::{Digest, Sha256};

/// A reader or writer that keeps the SHA-256 and the length of all that passed.
pub struct Hashing<T> {
    /// What is read from or written to.
    pub inner: T,
    hash: Sha256,
    bytes: u64,
}

impl<T> Hashing<T> {
    /// Nothing has passed yet.
    pub fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    /// What is behind, the hash in hex, and the length in bytes.
    pub fn finish(self) -> (T, String, u64) {
        (self.inner, hex(&self.hash.finalize()), self.bytes)
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.pass(&buffer[..n]);
        Ok(n)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buffer)?;
        self.pass(&buffer[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Length and SHA-256, hex, of all that is left to read.
///
/// # Errors
/// Reading fails.
pub fn rest(source: impl Read, cancelled: &dyn Fn() -> bool) -> io::Result<(u64, String)> {
    let mut hashing = Hashing::new(source);
    hashing.drain(cancelled)?;
    let (_, sha256, bytes) = hashing.finish();
    Ok((bytes, sha256))
}

impl<R: Read> Hashing<R> {
    /// Read to the end, or until `cancelled`.
    ///
    /// # Errors
    /// Reading fails.
    pub fn drain(&mut self, cancelled: &dyn Fn() -> bool) -> io::Result<()> {
        let mut buffer = vec![0; 256 << 10];
        while !cancelled() && self.read(&mut buffer)? > 0 {}
        Ok(())
    }
}
