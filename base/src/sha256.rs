//! SHA-256 in lower-case hexadecimal, of bytes and of what passes through a reader or a writer.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

/// Bytes that are read at a time.
const BUFFER: usize = 256 << 10;

/// SHA-256 of `bytes`, hex.
pub fn hex_digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|d| char::from(DIGITS[usize::from(d)])).collect()
}

/// A reader or writer that keeps the SHA-256 and the length of all that passed.
pub struct HashingStream<T> {
    /// What is read from or written to.
    pub inner: T,
    hash: Sha256,
    bytes: u64,
}

impl<T> HashingStream<T> {
    /// Nothing has passed yet.
    pub fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    /// The stream behind, the hash in hex, and the length in bytes.
    pub fn finish(self) -> (T, String, u64) {
        (self.inner, hex(&self.hash.finalize()), self.bytes)
    }

    fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<R: Read> HashingStream<R> {
    /// Read to the end, or until `cancelled`.
    pub fn drain(&mut self, cancelled: &dyn Fn() -> bool) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        while !cancelled() && self.read(&mut buffer)? > 0 {}
        Ok(())
    }
}

impl<R: Read> Read for HashingStream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.update(&buffer[..n]);
        Ok(n)
    }
}

impl<W: Write> Write for HashingStream<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buffer)?;
        self.update(&buffer[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Length in bytes and SHA-256, hex, of all that is left to read. What it gives after `cancelled` means nothing.
pub fn digest_reader(source: impl Read, cancelled: &dyn Fn() -> bool) -> io::Result<(u64, String)> {
    let mut hashing = HashingStream::new(source);
    hashing.drain(cancelled)?;
    let (_, sha256, bytes) = hashing.finish();
    Ok((bytes, sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sha256sum() -> io::Result<()> {
        // printf 'ciao\n' | sha256sum
        let expected = "6f0378f21a495f5c13247317d158e9d51da45a5bf68fc2f366e450deafdc8302";
        assert_eq!(hex_digest(b"ciao\n"), expected);
        assert_eq!(digest_reader(&b"ciao\n"[..], &|| false)?, (5, expected.to_owned()));
        let mut written = HashingStream::new(Vec::new());
        written.write_all(b"ciao\n")?;
        assert_eq!(written.finish(), (b"ciao\n".to_vec(), expected.to_owned(), 5));
        Ok(())
    }
}
