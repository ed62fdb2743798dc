//! Compression of input files, told from their first bytes.

use std::io::{self, BufRead, BufReader, Read};

use super::reader::Refusal;

const BUFFER: usize = 256 << 10;

/// How an input file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, of one or many members.
    Gzip,
    /// Zstandard, of one or many frames.
    Zstd,
    /// bzip2, of one or many streams.
    Bzip2,
    /// xz, of one or many streams.
    Xz,
}

/// What a compressed file's name ends in.
const ENDINGS: [&str; 5] = [".gz", ".zst", ".zstd", ".bz2", ".xz"];

/// What a file's name ends in, without what stands for compression: `csv` of `A.CSV.gz`.
pub fn ending(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let bare = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
    let (_, file) = bare.rsplit_once('/').unwrap_or(("", bare));
    file.rsplit_once('.').map(|(_, ending)| ending.to_owned())
}

/// So many first bytes tell.
pub const MAGIC_BYTES: usize = 10;

impl Compression {
    /// That of a file which begins like this.
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or one that decoders skip: pzstd begins with such, seekable files end in one.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            // After the block size comes a block, or the end: the digits of pi, or of its square root.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }
}

/// Decompress a stream. What needs a window of more than 2^`window_log` bytes is a [`Refusal`] when it is read.
pub fn decompress<'a>(
    compression: Compression,
    raw: impl Read + Send + 'a,
    window_log: u32,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut raw = BufReader::with_capacity(BUFFER, raw);
    Ok(match compression {
        Compression::None => Box::new(raw),
        Compression::Gzip => Box::new(GzipMembers { member: Some(flate2::bufread::GzDecoder::new(raw)) }),
        Compression::Zstd => {
            let window = zstd_window(raw.fill_buf()?);
            let mut decoder = zstd::Decoder::with_buffer(raw)?;
            decoder.window_log_max(window_log)?;
            Box::new(Windowed { decoder, what: "zstd", window, window_log })
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(raw)),
        Compression::Xz => {
            // The decoder's own tables beside the dictionary take less than the second summand.
            let kib = (1_u32 << (window_log - 10)) + 1024;
            let decoder = lzma_rust2::XzReader::new_mem_limit(raw, true, kib);
            Box::new(Windowed { decoder, what: "xz", window: None, window_log })
        }
    })
}

/// gzip members one after another, and zeros after the last, which fill up a tape's or a disk's last block.
struct GzipMembers<R> {
    /// `None` after the last.
    member: Option<flate2::bufread::GzDecoder<R>>,
}

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let n = member.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            let Some(mut rest) = self.member.take().map(flate2::bufread::GzDecoder::into_inner) else { break };
            match after_zeros(&mut rest)? {
                None => {}
                Some(0x1f) => self.member = Some(flate2::bufread::GzDecoder::new(rest)),
                Some(_) => return Err(io::Error::other("other bytes follow the end of its gzip data")),
            }
        }
        Ok(0)
    }
}

/// The first byte that is not zero, left unread; `None` at the end.
fn after_zeros(input: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            return Ok(None);
        }
        let zeros = chunk.iter().position(|b| *b != 0);
        let n = zeros.unwrap_or(chunk.len());
        let next = zeros.map(|n| chunk[n]);
        input.consume(n);
        if next.is_some() {
            return Ok(next);
        }
    }
}

/// A decoder that refuses windows above a size, and says so.
struct Windowed<R> {
    decoder: R,
    what: &'static str,
    /// The window of the first frame, where it could be told.
    window: Option<u64>,
    window_log: u32,
}

impl<R: Read> Read for Windowed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer).map_err(|e| {
            let said = e.to_string();
            if said.contains("Dictionary mismatch") {
                return Refusal::error(
                    "it was compressed with a dictionary, which it does not hold: unpack it with that".into(),
                );
            }
            if e.kind() != io::ErrorKind::OutOfMemory && !said.contains("too much memory") {
                return e;
            }
            let allowed = 1_u64 << self.window_log;
            let (size, least) = match self.window.filter(|w| *w > allowed) {
                Some(window) => (memory(window), (window - 1).ilog2() + 1),
                None => (format!("more than {}", memory(allowed)), self.window_log + 1),
            };
            let way_out = if least > 31 {
                "write it again with a smaller one".to_owned()
            } else {
                format!("`--set read.window_log={least}` allows it, and takes that much memory for each such file")
            };
            Refusal::error(format!(
                "its {} window is {size}, and read.window_log = {} allows {}: {way_out}",
                self.what,
                self.window_log,
                memory(allowed)
            ))
        })
    }
}

/// Bytes in the largest unit that shows a power of two whole.
fn memory(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.into_iter().find(|(_, log)| bytes >= 1 << log && bytes.trailing_zeros() + 3 >= *log);
    match unit {
        #[allow(clippy::cast_precision_loss, reason = "a size to be read by a person")]
        Some((unit, log)) => format!("{} {unit}", bytes as f64 / f64::from(1_u32 << log)),
        None => format!("{bytes} bytes"),
    }
}

/// The window that the first frame asks for, in bytes; `None` where `head` does not reach it, or it names none.
///
/// Source: RFC 8878, sections 3.1.1.1 and 3.1.2.
fn zstd_window(mut head: &[u8]) -> Option<u64> {
    while let [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, rest @ ..] = head {
        head = rest.get(usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).ok()?..)?;
    }
    let [0x28, 0xb5, 0x2f, 0xfd, descriptor, window, ..] = head else { return None };
    // A single segment is its own window, and has no byte for one.
    if descriptor & 0x20 != 0 {
        return None;
    }
    let base = 1_u64 << (10 + (window >> 3));
    Some(base + base / 8 * u64::from(window & 7))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::source::reader::cut_short;

    fn gzip(text: &str) -> Vec<u8> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(text.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
        gz.finish().unwrap_or_else(|e| panic!("{e}"))
    }

    fn zstd(text: &str) -> Vec<u8> {
        zstd::encode_all(text.as_bytes(), 3).unwrap_or_else(|e| panic!("{e}"))
    }

    fn unpack(bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        decompress(Compression::of(bytes), bytes, 27)?.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Bytes of hexadecimal digits.
    fn hex(digits: &str) -> Vec<u8> {
        let byte = |i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap_or_else(|e| panic!("{e}"));
        (0..digits.len()).step_by(2).map(byte).collect()
    }

    /// `bz2.compress(b"uno\ndue\n").hex()` of Python 3.
    const BZIP2: &str = "425a6839314159265359580c30d6000003c1800010060182002000221868300b19c130bb9229c28482c06186b0";

    /// `lzma.compress(b"uno\ndue\n").hex()` of Python 3.
    const XZ: &str = "fd377a585a000004e6d6b4460200210116000000742fe5a3010007756e6f0a6475650a0075c8188bfd34fe3e00012008bb19d9\
                      bb1fb6f37d010000000004595a";

    #[test]
    fn files_of_several_parts_are_read_to_the_end() {
        let skippable = |magic: u8, content: &[u8]| {
            let length = u32::try_from(content.len()).unwrap_or_default().to_le_bytes();
            [&[magic, 0x2a, 0x4d, 0x18], &length[..], content].concat()
        };
        let (a, b) = ("uno\n", "due\n");
        for (what, bytes) in [
            ("two gzip members", [gzip(a), gzip(b)].concat()),
            ("an empty member between", [gzip(a), gzip(""), gzip(b)].concat()),
            ("zeros after the last", [gzip(a), gzip(b), vec![0; 700]].concat()),
            ("zeros between", [gzip(a), vec![0; 300_000], gzip(b)].concat()),
            ("two frames", [zstd(a), zstd(b)].concat()),
            ("a skippable frame first", [skippable(0x50, &[7; 4]), zstd(a), zstd(b)].concat()),
            ("of any number, between", [zstd(a), skippable(0x5e, b""), zstd(b)].concat()),
            ("at the end", [zstd(a), zstd(b), skippable(0x5f, &[0; 20])].concat()),
        ] {
            assert_eq!(unpack(&bytes).unwrap_or_else(|e| panic!("{what}: {e}")), "uno\ndue\n", "{what}");
        }
    }
    #[test]
    fn what_python_packs_is_unpacked() {
        for digits in [BZIP2, XZ] {
            let once = hex(digits);
            assert_eq!(unpack(&once).unwrap_or_else(|e| panic!("{e}")), "uno\ndue\n");
            let twice = [once.clone(), once].concat();
            assert_eq!(unpack(&twice).unwrap_or_else(|e| panic!("{e}")), "uno\ndue\nuno\ndue\n");
        }
    }

    /// Gives some bytes, and then what the system says of a failing disk.
    struct Failing<'a>(&'a [u8]);

    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(io::Error::from_raw_os_error(5));
            }
            self.0.read(buffer)
        }
    }

    #[test]
    fn what_the_system_says_is_no_word_on_the_file() {
        let plain = b"uno\ndue\n".to_vec();
        for whole in [plain, gzip("uno\ndue\n"), zstd("uno\ndue\n"), hex(BZIP2), hex(XZ)] {
            let compression = Compression::of(&whole);
            let read = |source: &[u8]| {
                let mut text = Vec::new();
                decompress(compression, Failing(source), 27).and_then(|mut r| r.read_to_end(&mut text))
            };
            let error = read(&whole[..whole.len() / 2]).err().unwrap_or_else(|| panic!("{compression:?} is read"));
            assert_eq!(error.raw_os_error(), Some(5), "{compression:?}: {error:?}");
            let said = cut_short("x", 3, &error).to_string();
            assert!(said.contains("the disk") && !said.contains("fetch it again"), "{compression:?}: {said}");
        }
    }

    #[test]
    fn a_window_above_the_limit_is_refused_by_its_size_and_damage_is_not() {
        // Frame headers without a content size, and with a window of 2^31, 2^28 and 1.875 * 2^27 bytes: RFC 8878, 3.1.1.1.2.
        let frame = |window: u8| [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, window][..], &[0x01, 0x00, 0x00]].concat();
        for (window, said) in [
            (21 << 3, "its zstd window is 2 GiB, and read.window_log = 27 allows 128 MiB: `--set read.window_log=31`"),
            (
                18 << 3,
                "its zstd window is 256 MiB, and read.window_log = 27 allows 128 MiB: `--set read.window_log=28`",
            ),
            ((17 << 3) + 7, "its zstd window is 240 MiB, and"),
            (31 << 3, "write it again with a smaller one"),
        ] {
            let error = unpack(&frame(window)).err().unwrap_or_else(|| panic!("{window} is allowed"));
            assert!(Refusal::of(&error).is_some_and(|r| r.to_string().contains(said)), "{error}");
        }
        let foreign = [&[0x28, 0xb5, 0x2f, 0xfd, 0x01, 0x00, 0x07][..], &[0x01, 0x00, 0x00]].concat();
        let error = unpack(&foreign).err().unwrap_or_else(|| panic!("a dictionary is made up"));
        assert!(Refusal::of(&error).is_some_and(|r| r.to_string().contains("with a dictionary")), "{error}");
        let mut text = String::new();
        let allowed =
            decompress(Compression::Zstd, &frame(21 << 3)[..], 31).and_then(|mut r| r.read_to_string(&mut text));
        assert_eq!(allowed.ok(), Some(0), "an empty last block");
        // A dictionary of 2^26 bytes, which the limit is below; the header's checksum by Python's zlib.crc32.
        let small = decompress(Compression::Xz, &hex(XZ)[..], 20).and_then(|mut r| r.read_to_string(&mut text));
        assert!(small.is_err_and(|e| Refusal::of(&e).is_some_and(|r| r.to_string().contains("more than 1 MiB"))));
        for broken in [&gzip("uno")[..15], &zstd("uno")[..9], &[gzip("uno"), b"<html>".to_vec()].concat()] {
            let error = unpack(broken).err().unwrap_or_else(|| panic!("{broken:?} is read"));
            assert!(Refusal::of(&error).is_none(), "{error}");
        }
    }
}
