//! A part of a file on its way out: it counts, it can be stopped, and it knows whose fault it is when it breaks.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use setaccio_base::progress::Progress;

use crate::error::{Error, Result};

/// Reads a part of a file for a request's body.
pub struct FilePartBody<'a> {
    path: &'a Path,
    file: File,
    left: u64,
    progress: &'a dyn Progress,
    failed: Option<io::Error>,
}

impl<'a> FilePartBody<'a> {
    /// `length` bytes of a file from `offset` on.
    pub fn new(path: &'a Path, (offset, length): (u64, u64), progress: &'a dyn Progress) -> Result<Self> {
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        file.seek(SeekFrom::Start(offset)).map_err(Error::io("read", path))?;
        Ok(Self { path, file, left: length, progress, failed: None })
    }

    /// Why it broke, if that was on this machine.
    pub fn fault(self) -> Option<Error> {
        match self.failed {
            Some(error) => Some(Error::io("read", self.path)(error)),
            None => self.progress.cancelled().then_some(Error::Interrupted),
        }
    }
}

impl Read for FilePartBody<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.progress.cancelled() {
            return Err(io::Error::other("stopped"));
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..most]).and_then(|n| match n {
            0 if most > 0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has become shorter")),
            n => Ok(n),
        });
        match read {
            Ok(n) => {
                self.left -= n as u64;
                self.progress.bytes(n as u64);
                Ok(n)
            }
            Err(error) => {
                let told = io::Error::other(error.to_string());
                self.failed = Some(error);
                Err(told)
            }
        }
    }
}
